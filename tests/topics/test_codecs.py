"""The bytes of every record type of every version: what a log holds stays readable.

A line of the golden files is never changed: a changed record gets a version of its own, with new lines and a migration.
"""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tests.topics.records import BEATS, BODIES, FACTS, PLACEMENTS, command, decision
from topics import commands, events, heartbeats, owners, placement, readers, replies, writes
from topics.objects import Checksum
from topics.secret import ClusterSecret

GOLDEN = Path(__file__).with_name("golden")
SECRET = ClusterSecret(b"the secret of the golden bytes")


def golden(name: str) -> list[bytes]:
    return GOLDEN.joinpath(name).read_bytes().splitlines()


def test_commands() -> None:
    assert [commands.encode(command(body)).hex().encode() for body in BODIES] == golden("commands-v1.hex")
    assert [commands.decode(bytes.fromhex(line.decode())) for line in golden("commands-v1.hex")] == [
        command(body) for body in BODIES
    ]


def test_events() -> None:
    assert [events.encode(decision(event)) for event in FACTS] == golden("events-v1.jsonl")
    assert [events.decode(line) for line in golden("events-v1.jsonl")] == [decision(event) for event in FACTS]


def test_placement() -> None:
    assert [placement.encode(each).hex().encode() for each in PLACEMENTS] == golden("placement-v1.hex")
    assert [placement.decode(bytes.fromhex(line.decode())) for line in golden("placement-v1.hex")] == PLACEMENTS


def test_heartbeats() -> None:
    assert [heartbeats.encode(each, SECRET).hex().encode() for each in BEATS] == golden("heartbeats-v1.hex")
    assert [heartbeats.decode(bytes.fromhex(line.decode()), SECRET) for line in golden("heartbeats-v1.hex")] == BEATS


CLAIM = writes.Claim(16, 67_108_864, 0x9A71BB4C, ["n1", "n2"])
WRITES: list[tuple[bytes, bytes, writes.Write]] = [
    (writes.payload(16, b"abc"), b"\x03\x10abc", writes.Payload(16, b"abc")),
    (writes.payload(0, b""), b"\x03\x00", writes.Payload(0, b"")),
    (writes.claim(CLAIM), bytes.fromhex("04 94 10 ce04000000 ce9a71bb4c 92 a26e31 a26e32"), CLAIM),
    (writes.RELEASE, b"\x02", writes.Release()),
]


@pytest.mark.parametrize(("encoded", "data", "write"), WRITES)
def test_writes(encoded: bytes, data: bytes, write: writes.Write) -> None:
    assert encoded == data
    assert writes.decode(data) == write


def test_a_payload_of_an_earlier_release_is_of_an_unknown_partition() -> None:
    assert writes.decode(b"\x01abc") == writes.Payload(writes.UNKNOWN_PARTITION, b"abc")
    assert writes.decode(b"\x01") == writes.Payload(writes.UNKNOWN_PARTITION, b"")


REPLIES = {
    "9201 81 aa726571756573745f6964 a25231": replies.Reply("R1"),
    "9201 88 aa726571756573745f6964 a25231 a56572726f72 a8536c6f77446f776e a76d657373616765 a3776879 a465746167 a435643431"
    " aa76657273696f6e5f6964 a46e756c6c a774696d655f6d73 cd03e8 a473697a65 05"
    " a8636865636b73756d 93 a54352433332 a84141414141413d3d ab46554c4c5f4f424a454354": replies.Reply(
        "R1", "SlowDown", "why", "5d41", "null", 1_000, 5, Checksum("CRC32", "AAAAAA==")
    ),
}
SAID_BY_READERS = {
    b'{"type":"Reading","gateway":"3/ab","oldest":17,"has_left":false,"version":1}': readers.Reading("3/ab", 17),
    b'{"type":"Mark","owner":"cd","number":9,"version":1}': readers.Mark("cd", 9),
}
LEASE = owners.Lease("ab", "http://10.0.0.7:9002", {0: 3, 16: 1}, {16}, number=7)
LEASE_BYTES = b'{"owner":"ab","endpoint":"http://10.0.0.7:9002","epochs":{"0":3,"16":1},"held":[16],"version":1,"number":7}'


@pytest.mark.parametrize(("data", "said"), SAID_BY_READERS.items())
def test_readers(data: bytes, said: readers.Reading | readers.Mark) -> None:
    assert readers.encode(said) == data
    assert readers.decode(data) == said
    with pytest.raises(ValueError, match="version 2 of what readers say is not known"):
        readers.decode(data.replace(b'"version":1', b'"version":2'))


@pytest.mark.parametrize(("data", "reply"), REPLIES.items())
def test_replies(data: str, reply: replies.Reply) -> None:
    assert replies.encode(reply).hex() == data.replace(" ", "")
    assert replies.decode(bytes.fromhex(data)) == reply


def test_leases() -> None:
    assert owners.encode(LEASE) == LEASE_BYTES
    assert owners.decode(LEASE_BYTES) == LEASE


def test_every_type_has_its_golden_bytes() -> None:
    assert {type(body) for body in BODIES} == set(get_args(commands.Body))
    assert {type(event) for event in FACTS} == set(get_args(events.Event))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"null", commands.encode(command(BODIES[0]))[:-1]])
def test_what_is_no_command(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        commands.decode(data)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", events.encode(decision(FACTS[0]))[:-1]])
def test_what_is_no_event(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        events.decode(data)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"\x92\x01\x80", b"null"])
def test_what_is_no_reply(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        replies.decode(data)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", LEASE_BYTES[:-1], LEASE_BYTES.replace(b'"16"', b'"x"')])
def test_what_is_no_lease(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        owners.decode(data)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x05abc", b"\x03", b"\x04", b"\x04\x92\x01\x02", b"\x04\xc1"])
def test_what_is_no_write(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        writes.decode(data)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80\x01", b"null", placement.encode(PLACEMENTS[1])[:-1]])
def test_what_is_no_placement(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        placement.decode(data)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"null", heartbeats.encode(BEATS[0], SECRET)[:-1]])
def test_what_is_no_heartbeat(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        heartbeats.decode(data, SECRET)


def test_a_heartbeat_of_another_secret_or_changed_on_its_way_is_unsigned() -> None:
    said = heartbeats.encode(BEATS[0], SECRET)
    with pytest.raises(heartbeats.Unsigned):
        heartbeats.decode(said, ClusterSecret(b"the secret of another"))
    with pytest.raises(heartbeats.Unsigned):
        heartbeats.decode(said.replace(b"rack-1", b"rack-2"), SECRET)


def test_what_a_later_release_wrote_is_refused() -> None:
    later_command = msgspec.structs.replace(command(BODIES[0]), version=2)
    with pytest.raises(ValueError, match="version 2 is not known"):
        commands.decode(commands.encode(later_command))
    later_event = msgspec.structs.replace(decision(FACTS[0]), version=2)
    with pytest.raises(ValueError, match="version 2 is not known"):
        events.decode(events.encode(later_event))
    with pytest.raises(ValueError, match="version 2 is not known"):
        owners.decode(LEASE_BYTES.replace(b'"version":1', b'"version":2'))
    with pytest.raises(ValueError, match="version 2 is not known"):
        replies.decode(b"\x92\x02" + replies.encode(replies.Reply("R1"))[2:])
    with pytest.raises(ValueError, match="version 2 is not known"):
        placement.decode(placement.encode(msgspec.structs.replace(PLACEMENTS[1], version=2)))
    with pytest.raises(ValueError, match="version 2 is not known"):
        heartbeats.decode(heartbeats.encode(BEATS[1], SECRET).replace(b"\x93\x01", b"\x93\x02", 1), SECRET)
    with pytest.raises(ValueError, match="ObjectMoved"):
        events.decode(events.encode(decision(FACTS[2])).replace(b"BucketDeleted", b"ObjectMoved"))
    renamed = commands.encode(command(BODIES[1])).replace(b"\xacDeleteBucket", b"\xacDeletePocket")
    with pytest.raises(ValueError, match="DeletePocket"):
        commands.decode(renamed)


def test_a_subscriber_finds_s3s_names_in_the_public_part() -> None:
    public = msgspec.json.decode(golden("events-v1.jsonl")[3])
    assert set(public) >= {"sequencer", "requestId", "principal", "event"}
    assert set(public["event"]) == {"eventName", "bucket", "key", "size", "eTag", "versionId", "private"}
