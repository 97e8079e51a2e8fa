"""A form as browsers send it (multipart/form-data, RFC 7578): its fields in memory, its file as a stream.

Source: "POST Object" of the S3 API. The file comes last; what follows it is read and dropped. Names of fields are compared
in lower case. Bounds: 20 KiB before the file (S3), 256 parts, a boundary of 70 bytes (RFC 2046), a part's header of 4 KiB a
line. What comes before the file is not signed for yet, so that bound counts all of it: what precedes the first part, too.
"""

import re
from collections.abc import AsyncIterator

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from gateway.body import Body
from gateway.errors import S3Error, invalid_argument
from gateway.put import PUT_BYTES_MAX
from gateway.request import Request

PRE_FILE_BYTES_MAX = 20 << 10
FORM_BYTES_MAX = PUT_BYTES_MAX + (2 << 20)  # with its fields and the heads of all parts
PARTS_MAX = 256
BOUNDARY_BYTES_MAX = 70

_FILE = "file"
_Events = AsyncIterator[MultipartSegment | bytes | None]  # of a part: its head, its data, None at its end


class Form:
    def __init__(self, fields: dict[str, str], filename: str, rest: _Events) -> None:
        self.fields = fields
        self.filename = filename  # without folders
        self._rest = rest

    async def file(self) -> AsyncIterator[bytes]:
        """Once. Raises MalformedPOSTRequest where the form breaks off, also after the file."""
        async for data in _data(self._rest):
            yield data
        async for _ in self._rest:
            pass


async def read_form(request: Request) -> Form:
    """The form up to its file's first byte. Raises S3Error."""
    fields: dict[str, str] = {}
    room = PRE_FILE_BYTES_MAX
    events = _events(request)
    async for segment in events:
        assert isinstance(segment, MultipartSegment)
        name = (segment.name or "").lower()
        if not name:
            raise S3Error("MalformedPOSTRequest")
        if name == _FILE:
            return Form(fields, re.split(r"[/\\]", segment.filename or "")[-1], events)
        room -= len(name.encode())
        value = bytearray()
        async for data in _data(events):
            value += data
            if len(value) > room:
                raise _too_much()
        room -= len(value)
        if name in fields:
            raise invalid_argument(name, "", f"The form has more than one field named '{name}'.")
        fields[name] = _text(value)
    raise invalid_argument(_FILE, "0", "POST requires exactly one file upload per request.")


def _too_much() -> S3Error:
    return S3Error("MaxPostPreDataLengthExceeded", MaxPostPreDataLengthBytes=PRE_FILE_BYTES_MAX)


async def _data(events: _Events) -> AsyncIterator[bytes]:
    """To the end of the part whose head came last."""
    async for event in events:
        if event is None:
            return
        assert isinstance(event, bytes)
        yield event


async def _events(request: Request) -> _Events:
    body, has_file = Body(request), False
    if body.length > FORM_BYTES_MAX:
        raise S3Error("EntityTooLarge", ProposedSize=body.length, MaxSizeAllowed=FORM_BYTES_MAX)
    try:
        parser = PushMultipartParser(_boundary(request), max_segment_count=PARTS_MAX)
        async for chunk in body.raw():
            for event in parser.parse(chunk):
                has_file = has_file or (isinstance(event, MultipartSegment) and (event.name or "").lower() == _FILE)
                yield event
            if not has_file and request.received_bytes > PRE_FILE_BYTES_MAX:
                raise _too_much()
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
