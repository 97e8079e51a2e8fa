"""Bits that flip in a file."""

from pathlib import Path


def flip(path: Path, at: int, mask: int = 4) -> None:
    """The bits of `mask` in the byte `at`."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))
