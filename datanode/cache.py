"""Small blobs that were read lately. A blob never changes, so what was verified once can be given again; one that was
released is asked for by nobody."""

BLOB_BYTES_MAX = 64 << 10  # of one: what is larger comes from the system's own cache nearly as fast
_ENTRY_BYTES = 256


class BlobCache:
    def __init__(self, bytes_max: int) -> None:
        """`bytes_max`: of all blobs, with what each costs beside its bytes; 0 for none."""
        self._bytes_max = bytes_max
        self._found: dict[str, bytes] = {}  # by id; the one that was asked for longest ago is the first
        self.used_bytes = 0

    def get(self, blob: str) -> bytes | None:
        data = self._found.pop(blob, None)
        if data is not None:
            self._found[blob] = data
        return data

    def put(self, blob: str, data: bytes) -> None:
        """All of a blob, verified."""
        if len(data) > BLOB_BYTES_MAX or blob in self._found:
            return
        self._found[blob] = data
        self.used_bytes += len(data) + _ENTRY_BYTES
        while self.used_bytes > self._bytes_max:
            oldest = next(iter(self._found))
            self.used_bytes -= len(self._found.pop(oldest)) + _ENTRY_BYTES
