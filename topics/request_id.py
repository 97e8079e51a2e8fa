"""The id of the S3 request that work is done for.

It is set where the request comes in, goes along in a header of each request to another process of the cluster, and is in
the log lines of all of them. It is for eyes only: whoever it comes from, nothing is decided by it.
"""

import re
from contextvars import ContextVar

HEADER = "x-bucketlog-request-id"
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
current: ContextVar[str] = ContextVar("request_id", default="")


def headers() -> dict[str, str]:
    """To be sent along."""
    found = current.get()
    return {HEADER: found} if found else {}


def adopt(text: str | None) -> None:
    """Go on with the id that came along; what is none is passed over."""
    if text and _ID.fullmatch(text):
        current.set(text)
