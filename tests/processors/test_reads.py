"""Listings: pages of any size, put together, are the naive listing."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.memory import MemoryView
from processors.reads import ViewReads, list_objects, list_uploads
from tests.processors.machine import Machine
from topics import commands
from topics.objects import Attributes
from topics.spec import BUCKET_PARTITIONS, bucket_partition

B, U, INCARNATION = "bucket", "ab" * 16, "i" * 32
KEYS = ["a", "a/", "a/b", "a/b/c", "a/c", "a!", "b", "b//c", "dir/ü", "dir/\U0001f600", "dir/\uffff", "z"]
names = st.text(st.sampled_from("ab/é\U0001f600"), min_size=1, max_size=5)


def objects(keys: list[str]) -> MemoryView:
    machine = Machine()
    machine.send(commands.CreateBucket(B, INCARNATION, ""))
    for key in keys:
        machine.send(commands.PutObject(B, key, 0, "", [], None, Attributes()))
    return machine.view


def naive(keys: list[str], prefix: str, delimiter: str) -> list[str]:
    """Contents and common prefixes in one order, as S3 documents them."""
    found = set()
    for key in (key for key in keys if key.startswith(prefix)):
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        found.add(key if at < 0 else key[: at + len(delimiter)])
    return sorted(found, key=str.encode)


def paged(view: MemoryView, prefix: str, delimiter: str, limit: int) -> list[str]:
    found: list[str] = []
    after = ""
    while True:
        page = list_objects(view, INCARNATION, prefix, delimiter, after, limit)
        assert len(page.contents) + len(page.prefixes) <= limit
        found += sorted([key for key, _ in page.contents] + page.prefixes, key=str.encode)
        if not page.next_marker:
            return found
        after = page.next_marker


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("prefix", "delimiter"), [("", ""), ("", "/"), ("a", "/"), ("a/", "/"), ("dir/", ""), ("", "b"), ("x", "/")]
)
def test_pages_are_the_whole(prefix: str, delimiter: str, limit: int) -> None:
    assert paged(objects(KEYS), prefix, delimiter, limit) == naive(KEYS, prefix, delimiter)


@given(
    st.lists(names, max_size=12, unique=True),
    st.text("ab/", max_size=2),
    st.sampled_from(["", "/", "a", "b/"]),
    st.integers(1, 4),
)
def test_pages_of_any_size_are_the_whole(keys: list[str], prefix: str, delimiter: str, limit: int) -> None:
    assert paged(objects(keys), prefix, delimiter, limit) == naive(keys, prefix, delimiter)


def test_a_listing_starts_above_a_name_that_need_not_exist() -> None:
    view = objects(KEYS)
    assert [key for key, _ in list_objects(view, INCARNATION, "", "", "a/bb", 3).contents] == ["a/c", "b", "b//c"]
    assert list_objects(view, INCARNATION, "", "", "zz", 3).contents == []


def test_a_page_of_nothing_is_the_last() -> None:
    assert list_objects(objects(KEYS), INCARNATION, "", "/", "", 0) == ([], [], "")
    assert list_uploads(uploads([("a", "1")]), INCARNATION, "", "/", ("", ""), 0) == ([], [], "", "")


def test_a_page_that_ends_with_the_last_name_is_the_last() -> None:
    view = objects(["a", "b/1", "b/2"])
    page = list_objects(view, INCARNATION, "", "/", "", 2)
    assert ([key for key, _ in page.contents], page.prefixes, page.next_marker) == (["a"], ["b/"], "")
    assert list_objects(view, INCARNATION, "", "/", "", 1).next_marker == "a"
    assert list_objects(view, INCARNATION, "", "/", "b/", 1) == ([], [], "")


def test_names_come_in_the_order_of_their_utf8_bytes() -> None:
    """Not of UTF-16, where U+1F600 begins with a unit below U+FFFF."""
    page = list_objects(objects(["\U0001f600", "\uffff", "ü", "z", "Z"]), INCARNATION, "", "", "", 9)
    assert [key for key, _ in page.contents] == ["Z", "z", "ü", "\uffff", "\U0001f600"]


def uploads(begun: list[tuple[str, str]]) -> MemoryView:
    machine = Machine()
    machine.send(commands.CreateBucket(B, INCARNATION, ""))
    for key, upload in begun:
        machine.send(commands.CreateUpload(B, key, upload, "", "", Attributes()))
    return machine.view


def naive_uploads(begun: list[tuple[str, str]], prefix: str, delimiter: str) -> list[tuple[str, str]]:
    """Uploads, and common prefixes as uploads without an id, by key and then by id."""
    found = set()
    for key, upload in (each for each in begun if each[0].startswith(prefix)):
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        found.add((key, upload) if at < 0 else (key[: at + len(delimiter)], ""))
    return sorted(found, key=lambda each: (each[0].encode(), each[1]))


@given(
    st.lists(st.tuples(names, st.sampled_from(["1", "2", "3"])), max_size=10, unique=True),
    st.text("ab/", max_size=2),
    st.sampled_from(["", "/", "b/"]),
    st.integers(1, 4),
)
def test_pages_of_uploads_are_the_whole(begun: list[tuple[str, str]], prefix: str, delimiter: str, limit: int) -> None:
    view = uploads(begun)
    found: list[tuple[str, str]] = []
    after = ("", "")
    while True:
        page = list_uploads(view, INCARNATION, prefix, delimiter, after, limit)
        names_ = [(key, upload) for key, upload, _ in page.uploads] + [(each, "") for each in page.prefixes]
        assert len(names_) <= limit
        found += sorted(names_, key=lambda each: (each[0].encode(), each[1]))
        if not page.next_key:
            break
        after = (page.next_key, page.next_upload)
        assert found[-1] == after
    assert found == naive_uploads(begun, prefix, delimiter)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (("", ""), ["a#1", "a#2", "b#1"]),
        (("a", "1"), ["a#2", "b#1"]),
        (("a", ""), ["b#1"]),  # S3: a key marker alone starts behind all uploads of the key
        (("aa", "2"), ["b#1"]),
        (("b", "1"), []),
    ],
)
def test_uploads_start_behind_a_marker(after: tuple[str, str], expected: list[str]) -> None:
    page = list_uploads(uploads([("a", "1"), ("a", "2"), ("b", "1")]), INCARNATION, "", "", after, 9)
    assert [f"{key}#{upload}" for key, upload, _ in page.uploads] == expected


OTHER = next(name for name in ("bucket1", "bucket2", "bucket3") if bucket_partition(name) != bucket_partition(B))


def two_buckets() -> ViewReads:
    """In different partitions; each with an object and an upload named after it."""
    machines = {number: Machine() for number in range(BUCKET_PARTITIONS)}
    for name in (OTHER, B):
        send = machines[bucket_partition(name)].send
        send(commands.CreateBucket(name, INCARNATION, ""))
        send(commands.PutObject(name, f"of {name}", 0, "", [], None, Attributes()))
        send(commands.CreateUpload(name, f"to {name}", U, "", "", Attributes()))
        for number in (1, 2, 10_000):
            send(commands.PutPart(name, f"to {name}", U, number, 0, "", [], None))
    return ViewReads({number: machine.view for number, machine in machines.items()})


@pytest.mark.parametrize("name", [B, OTHER])
def test_a_bucket_is_read_from_the_view_of_its_partition(name: str) -> None:
    async def run() -> None:
        reads = two_buckets()
        bucket = await reads.bucket(name)
        assert bucket is not None
        found = await reads.current(name, f"of {name}")
        assert (found.bucket, found.object is not None) == (bucket, True)
        assert await reads.current(name, "nothing") == (bucket, None)
        assert await reads.current("nowhere", "nothing") == (None, None)
        assert [key for key, _ in (await reads.listing(name, bucket, "", "", "", 9)).contents] == [f"of {name}"]
        assert await reads.upload(name, bucket, f"to {name}", U) is not None
        assert await reads.upload(name, bucket, f"of {name}", U) is None
        assert len((await reads.uploads(name, bucket, "", "", ("", ""), 9)).uploads) == 1

    asyncio.run(run())


def test_buckets_of_all_partitions_are_listed_by_name() -> None:
    async def run() -> None:
        reads = two_buckets()
        assert [name for name, _ in await reads.buckets()] == sorted([B, OTHER])
        assert await reads.bucket("nowhere") is None

    asyncio.run(run())


@pytest.mark.parametrize(
    ("after", "limit", "numbers"),
    [(0, 9, [1, 2, 10_000]), (0, 2, [1, 2]), (2, 9, [10_000]), (3, 1, [10_000]), (10_000, 9, []), (0, 0, [])],
)
def test_parts_are_listed_behind_a_number(after: int, limit: int, numbers: list[int]) -> None:
    found = asyncio.run(two_buckets().parts(B, U, after, limit))
    assert [number for number, _ in found] == numbers
