"""Listings: pages of any size, put together, are the naive listing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.memory import MemoryView
from processors.reads import list_objects, list_uploads
from tests.processors.machine import Machine
from topics import commands
from topics.objects import Attributes

B, INCARNATION = "bucket", "i" * 32
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


@given(
    st.lists(st.tuples(names, st.sampled_from(["1", "2", "3"])), max_size=10, unique=True),
    st.sampled_from(["", "/"]),
    st.integers(1, 4),
)
def test_pages_of_uploads_are_the_whole(uploads: list[tuple[str, str]], delimiter: str, limit: int) -> None:
    machine = Machine()
    machine.send(commands.CreateBucket(B, INCARNATION, ""))
    for key, upload in uploads:
        machine.send(commands.CreateUpload(B, key, upload, "", "", Attributes()))
    found: list[str] = []
    after = ("", "")
    while True:
        page = list_uploads(machine.view, INCARNATION, "", delimiter, after, limit)
        found += [f"{key}#{upload}" for key, upload, _ in page.uploads] + page.prefixes
        if not page.next_key:
            break
        after = (page.next_key, page.next_upload)
    whole = {key for key, _ in uploads}
    prefixes = (
        {key for key in naive(list(whole), "", delimiter) if key not in whole or key.endswith("/")} if delimiter else set()
    )
    contents = {f"{key}#{upload}" for key, upload in uploads if not delimiter or delimiter not in key}
    assert sorted(found) == sorted(prefixes | contents)
