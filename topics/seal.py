"""A small file with the checksum of its text in a second line, so that damage to it is told.

text | newline | crc32c of the text, 8 hex digits | newline
"""

from awscrt.checksums import crc32c


def sealed(text: bytes) -> bytes:
    return text + b"\n%08x\n" % crc32c(text)


def unsealed(stored: bytes) -> bytes:
    """The text. Raises `ValueError` where the checksum is another; files of earlier releases are without."""
    text, _, crc = stored.partition(b"\n")
    if crc and crc != b"%08x\n" % crc32c(text):
        raise ValueError("its checksum is another")
    return text
