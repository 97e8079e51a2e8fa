"""Who a data node is: what its folder keeps, and which folders are refused."""

from pathlib import Path

import pytest

from bucketlog import identity
from bucketlog.folder import FolderRefused


def test_a_folder_keeps_its_name_and_incarnation_and_each_process_is_another(tmp_path: Path) -> None:
    first, again = identity.load(tmp_path, "n1", "cluster"), identity.load(tmp_path, "n1", "cluster")
    assert (first.name, first.incarnation) == (again.name, again.incarnation) == ("n1", first.incarnation)
    assert first.boot != again.boot
    assert identity.load(tmp_path, "", "cluster").name == "n1"  # as the folder has it


def test_an_emptied_folder_is_another_node(tmp_path: Path) -> None:
    first = identity.load(tmp_path / "a", "n1", "cluster")
    assert identity.load(tmp_path / "b", "n1", "cluster").incarnation != first.incarnation


def test_folders_without_a_name_get_names_of_their_own(tmp_path: Path) -> None:
    names = {identity.load(tmp_path / str(number), "", "cluster").name for number in range(5)}
    assert len(names) == 5
    assert all(names)


@pytest.mark.parametrize(
    ("name", "cluster", "why"),
    [("n1", "another", "belongs to another cluster"), ("n2", "cluster", "is that of node n1, not n2")],
)
def test_a_folder_of_another_is_refused(tmp_path: Path, name: str, cluster: str, why: str) -> None:
    identity.load(tmp_path, "n1", "cluster")
    before = (tmp_path / "node.json").read_bytes()
    with pytest.raises(FolderRefused, match=why):
        identity.load(tmp_path, name, cluster)
    assert (tmp_path / "node.json").read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"name":"n1"}', b'{"name":1,"incarnation":"a","cluster":"cluster"}']
)
def test_a_file_that_cannot_be_read_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "node.json").write_bytes(content)
    with pytest.raises(FolderRefused, match=r"node\.json cannot be read"):
        identity.load(tmp_path, "n1", "cluster")
    assert (tmp_path / "node.json").read_bytes() == content
