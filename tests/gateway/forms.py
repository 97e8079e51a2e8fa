"""Forms as a browser sends them: multipart/form-data (RFC 7578)."""

BOUNDARY = "----a-boundary"
File = tuple[str, bytes]  # name, content


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(fields: dict[str, str], file: File | None = ("f.txt", b"data"), behind: bytes = b"") -> bytes:
    parts = [part(name, value.encode()) for name, value in fields.items()]
    if file is not None:
        parts.append(part("file", file[1], file[0]))
    return b"".join(parts) + behind + f"--{BOUNDARY}--\r\n".encode()
