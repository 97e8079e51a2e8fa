"""What librdkafka hands over, a record or an error, in the terms of the `Log` port."""

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaError, KafkaException, Message

from topics.log import LogError, OffsetTrimmed, Record

PASSING = (  # librdkafka goes on by itself when the brokers are back
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError._DESTROY_BROKER,
    KafkaError._NOENT,  # no leader is known at the moment
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,  # of a topic that was just made: brokers hear of it one after another
    KafkaError._UNKNOWN_PARTITION,
)
REFUSALS = (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED)
_MAY_NOT = "this client may not use the topic; check its ACLs"
_ADVICE = {
    KafkaError._MSG_TIMED_OUT: "no broker acknowledged it in time; check the brokers and min.insync.replicas",
    KafkaError._QUEUE_FULL: "too much waits for the brokers",
    **dict.fromkeys([KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED], _MAY_NOT),
    KafkaError.MSG_SIZE_TOO_LARGE: "raise the topic's max.message.bytes",
    **dict.fromkeys(REFUSALS, "check the credentials and certificates in kafka_settings"),
}


def failure(what: str, error: KafkaError | None) -> LogError:
    if error is None:
        return LogError(f"{what}: no broker answered in time")
    advice = _ADVICE.get(error.code(), "check the brokers")
    return LogError(f"{what}: {error.str()}; {advice}")


def failure_by(what: str, error: Exception) -> LogError:
    """Of an exception of librdkafka, or of anything that should not have happened in a thread of its own."""
    if isinstance(error, KafkaException) and isinstance(error.args[0], KafkaError):
        return failure(what, error.args[0])
    return LogError(f"{what}: {type(error).__name__}: {error}; report it")


def record_of(message: Message) -> Record:
    kind, time_ms = message.timestamp()
    assert kind != TIMESTAMP_NOT_AVAILABLE
    return Record(message.offset() or 0, time_ms, message.key() or b"", message.value() or b"")


def failure_of(message: Message) -> LogError | None:
    """The failure that an error message tells of; None for what passes."""
    error = message.error()
    assert error is not None
    where = f"{message.topic()}:{message.partition()}"
    if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        return OffsetTrimmed(f"{where}: {error.str()}")
    return None if error.code() in PASSING else failure(f"{where} cannot be read", error)
