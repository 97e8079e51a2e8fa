"""A GET whose object is overwritten while it goes on: it gets all bytes of what it began to read."""

import hashlib
import os
import time
from collections.abc import Callable
from typing import Any

BYTES = 48 << 20  # more than sockets and servers hold between them


def survives_an_overwrite(s3: Any, bucket: str, is_gone: Callable[[], bool], hold_s: float) -> None:
    """`is_gone` tells whether the disks let go of something, which they must not while the read goes on."""
    data = os.urandom(BYTES)
    s3.put_object(Bucket=bucket, Key="slow", Body=data)
    body = s3.get_object(Bucket=bucket, Key="slow")["Body"]
    begun = hashlib.sha256(body.read(1 << 20))
    s3.put_object(Bucket=bucket, Key="slow", Body=b"another")
    s3.delete_object(Bucket=bucket, Key="slow")
    until_s = time.monotonic() + hold_s
    while time.monotonic() < until_s:
        assert not is_gone()
        time.sleep(0.2)
    for chunk in iter(lambda: body.read(1 << 20), b""):
        begun.update(chunk)
    assert begun.hexdigest() == hashlib.sha256(data).hexdigest()
    body.close()
