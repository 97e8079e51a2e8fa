"""Requests between nodes: an HMAC-SHA256 with the cluster's shared secret over what a request asks for and when.

    Authorization: Bucketlog-HMAC-SHA256 <Unix seconds>:<hex signature>

signed: method, path with query, Content-Length, Range, the seconds, each on a line. A payload is covered by its crc32c,
not by the signature: use a private network. Repeating a request within the allowed skew does nothing new, as blobs are
immutable.
"""

import hmac
import re

SCHEME = "Bucketlog-HMAC-SHA256"
SKEW_S_MAX = 300
SECRET_BYTES_MIN = 16
_HEADER = re.compile(rf"{SCHEME} (\d{{1,12}}):([0-9a-f]{{64}})")


class ClusterSecret:
    """The secret that the nodes of a cluster share; never shown in a repr."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES_MIN:
            raise ValueError(f"the cluster's shared secret must have at least {SECRET_BYTES_MIN} bytes")
        self._secret = secret

    def sign(self, method: str, target: str, length: str, range_: str, now_s: int) -> str:
        """The Authorization header's value; `target` is the path with its query, absent headers are empty."""
        return f"{SCHEME} {now_s}:{self._signature(method, target, length, range_, now_s)}"

    def allows(self, header: str, method: str, target: str, length: str, range_: str, now_s: int) -> bool:
        match = _HEADER.fullmatch(header)
        if match is None or abs(int(match[1]) - now_s) > SKEW_S_MAX:
            return False
        return hmac.compare_digest(self._signature(method, target, length, range_, int(match[1])), match[2])

    def digest(self, data: bytes) -> bytes:
        """What only who knows the secret can say of `data`."""
        return hmac.digest(self._secret, data, "sha256")

    def is_digest(self, data: bytes, digest: bytes) -> bool:
        return hmac.compare_digest(self.digest(data), digest)

    def _signature(self, method: str, target: str, length: str, range_: str, now_s: int) -> str:
        text = "\n".join([method, target, length, range_, str(now_s)])
        return hmac.digest(self._secret, text.encode(), "sha256").hex()
