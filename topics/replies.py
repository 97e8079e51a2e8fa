"""The outcome of a command, sent to the gateway that waits for it once the decision behind it is durable."""

import msgspec

from topics.objects import Checksum


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    request_id: str
    error: str = ""  # S3 error code; empty for success
    message: str = ""
    etag: str = ""
    version_id: str = ""
    time_ms: int = 0  # when it was decided, by the log
    size: int = 0
    checksum: Checksum | None = None
