"""The least that the embedded log's files hold: a topic that waits for others' syncs, and one that is kept."""

from topics.spec import TopicPartition, TopicSpec, Visible

COMMANDS, EVENTS = TopicPartition("commands", 0), TopicPartition("events", 0)
SPECS = (TopicSpec("commands", 1, Visible.APPENDED, kept=False), TopicSpec("events", 1, Visible.DURABLE, kept=True))
