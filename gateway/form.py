"""A form as browsers send it (multipart/form-data, RFC 7578): its fields in memory, its file as a stream.

Source: "POST Object" of the S3 API. The file comes last; what follows it is read and dropped. Names of fields are compared
in lower case. Bounds: 20 KB of fields (S3), 256 parts, a boundary of 70 bytes (RFC 2046), a part's header of 4 KiB a line.
"""

import re
from collections.abc import AsyncIterator

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from gateway.body import Body
from gateway.errors import S3Error
from gateway.put import PUT_BYTES_MAX
from gateway.request import Request

FIELDS_BYTES_MAX = 20_000
FORM_BYTES_MAX = PUT_BYTES_MAX + (2 << 20)  # with its fields and the heads of all parts
PARTS_MAX = 256
BOUNDARY_BYTES_MAX = 70

_Events = AsyncIterator[MultipartSegment | bytes | None]  # of a part: its head, its data, None at its end


class Form:
    def __init__(self, fields: dict[str, str], filename: str, rest: _Events) -> None:
        self.fields = fields
        self.filename = filename  # without folders
        self._rest = rest

    async def file(self) -> AsyncIterator[bytes]:
        """Once. Raises MalformedPOSTRequest where the form breaks off, also behind the file."""
        async for data in _data(self._rest):
            yield data
        async for _ in self._rest:
            pass


async def read_form(request: Request) -> Form:
    """The form up to its file's first byte. Raises S3Error."""
    fields: dict[str, str] = {}
    room = FIELDS_BYTES_MAX
    events = _events(request)
    async for segment in events:
        assert isinstance(segment, MultipartSegment)
        name = (segment.name or "").lower()
        if name == "file":
            return Form(fields, re.split(r"[/\\]", segment.filename or "")[-1], events)
        room -= len(name.encode())
        value = bytearray()
        async for data in _data(events):
            value += data
            if len(value) > room:
                raise S3Error("MaxPostPreDataLengthExceeded")
        room -= len(value)
        if name in fields:
            raise S3Error("InvalidArgument", f"The form has more than one field named '{name}'.")
        fields[name] = _text(value)
    raise S3Error("InvalidArgument", "POST requires exactly one file upload per request.")


async def _data(events: _Events) -> AsyncIterator[bytes]:
    """To the end of the part whose head came last."""
    async for event in events:
        if event is None:
            return
        assert isinstance(event, bytes)
        yield event


async def _events(request: Request) -> _Events:
    body = Body(request)
    if body.length > FORM_BYTES_MAX:
        raise S3Error("EntityTooLarge")
    try:
        parser = PushMultipartParser(_boundary(request), max_segment_count=PARTS_MAX)
        async for chunk in body.raw():
            for event in parser.parse(chunk):
                yield event
        parser.close()  # an error unless the form was whole
    except MultipartError as error:
        raise S3Error("MalformedPOSTRequest", f"The form is not well-formed multipart/form-data: {error}") from None


def _boundary(request: Request) -> str:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data":
        raise S3Error("PreconditionFailed", "Bucket POST must be of the enclosure-type multipart/form-data")
    boundary: str = options.get("boundary", "")
    if not (boundary.isascii() and 1 <= len(boundary) <= BOUNDARY_BYTES_MAX):
        raise S3Error("MalformedPOSTRequest")
    return boundary


def _text(value: bytearray) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidArgument", "A field of the form is not UTF-8.") from None
