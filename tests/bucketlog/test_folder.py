"""Data folders at a start: one whose disk does not answer is left out like one that fails."""

import logging
import os
from pathlib import Path

import pytest

from bucketlog.folder import FolderRefused, usable


@pytest.fixture
def hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of which a read does not end."""
    monkeypatch.setattr("bucketlog.folder.ANSWER_S", 0.2)
    folder = tmp_path / "hung"
    folder.mkdir()
    os.mkfifo(folder / "format.json")  # nobody writes into it
    return folder


def test_one_of_several_that_hangs_is_left_out(hung: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    [folder] = usable([hung, tmp_path / "well"])
    assert folder.path == tmp_path / "well"
    [line] = caplog.messages
    assert f"{hung} cannot be used: its disk gave no answer" in line
    assert "replace the disk, and start again" in line
    folder.close()


def test_one_alone_that_hangs_is_refused(hung: Path) -> None:
    with pytest.raises(FolderRefused, match="gave no answer"):
        usable([hung])
