"""The Apache Kafka adapter of the `Log` port, on confluent-kafka (librdkafka)."""
