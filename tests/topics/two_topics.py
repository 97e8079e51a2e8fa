"""The least that the embedded log's files hold: a topic that waits for others' syncs, and one that is kept."""

import asyncio

from topics.spec import TopicPartition, TopicSpec, Visible

COMMANDS, EVENTS = TopicPartition("commands", 0), TopicPartition("events", 0)
SPECS = (TopicSpec("commands", 1, Visible.APPENDED, kept=False), TopicSpec("events", 1, Visible.DURABLE, kept=True))


async def others_done() -> None:
    """What a log does beside its writes has come to its end."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
