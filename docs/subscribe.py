"""A subscriber on Kafka itself, with nothing of bucketlog: prints each event that counts, once and in order.

    python subscribe.py BOOTSTRAP TOPIC PARTITION [STATE]

STATE is a file that remembers where it got to: the next offset and the reader's rule's two numbers.
"""

import json
import sys
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition


def main(bootstrap: str, topic: str, partition: str, state: str = "") -> None:
    offset, epoch, sequence = json.loads(Path(state).read_text()) if state and Path(state).exists() else (0, 0, 0)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "subscriber", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, int(partition), offset)])
    while True:
        message = consumer.poll(1)
        if message is None or message.error():
            continue  # the client goes on by itself when brokers are back
        decision = json.loads(message.value() or b"")
        if decision["event"]["eventName"] == "Claimed":  # the rule, in whole
            counts = decision["epoch"] > epoch
        else:
            counts = decision["epoch"] == epoch and decision["sequence"] == sequence + 1
        if counts:
            epoch, sequence = decision["epoch"], decision["sequence"]
            decision["event"].pop("private", None)
            print(json.dumps({"position": f"{partition}:{message.offset()}:{epoch}:{sequence}", **decision}), flush=True)
        if state:
            new = Path(f"{state}.new")
            new.write_text(json.dumps([(message.offset() or 0) + 1, epoch, sequence]))
            new.replace(state)  # whole or not at all, whenever this process ends


if __name__ == "__main__":
    main(*sys.argv[1:])
