"""The roles of a cluster, each a process of its own on Apache Kafka: gateway, processor, data node.

A role is a context that gives its HTTP service. It waits for the broker where there is none yet, and says so. Each has a
module of its own, which imports what that role runs and nothing else.
"""
