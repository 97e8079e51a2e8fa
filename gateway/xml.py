"""S3's XML: elements out, small documents in. Parsing refuses document types, so there are no entities."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from gateway.errors import S3Error

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
ELEMENTS_MAX = 1000  # of a document that has no list in it
_PROLOG = '<?xml version="1.0" encoding="UTF-8"?>\n'
BODY_BYTES_MAX = 2 << 20  # of a document that a client sends
_ATTRIBUTE = re.compile(rb"""=\s*["']""")
_NOT_IN_XML = {ord(char): f"&#x{ord(char):X};" for char in map(chr, range(1, 32))}


def text(name: str, value: object) -> str:
    escaped = escape(str(value))
    return f"<{name}>{escaped if escaped.isprintable() else escaped.translate(_NOT_IN_XML)}</{name}>"


def element(name: str, parts: Iterable[str]) -> str:
    return f"<{name}>{''.join(parts)}</{name}>"


def owner(name: str, user: str) -> str:
    return element(name, [text("ID", user), text("DisplayName", user)])


def document(name: str, parts: Iterable[str]) -> bytes:
    return f'{_PROLOG}<{name} xmlns="{NAMESPACE}">{"".join(parts)}</{name}>'.encode()


def plain_document(name: str, parts: Iterable[str]) -> bytes:
    """In no namespace, as S3's errors are."""
    return (_PROLOG + element(name, parts)).encode()


def timestamp(time_ms: int) -> str:
    seconds, millis = divmod(time_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{millis:03}Z"  # strftime takes three times as long


def parse(data: bytes, root: str, elements_max: int = ELEMENTS_MAX) -> ElementTree.Element:
    """The document with namespaces taken off. Raises MalformedXML unless it is a `root`.

    Elements and attributes are counted before any is made: 2 MB of nothing else would hold the loop for up to a second.
    """
    if data.count(b"<") - data.count(b"</") > elements_max:
        raise S3Error("MalformedXML")
    if data.count(b"=") > elements_max and len(_ATTRIBUTE.findall(data)) > elements_max:
        raise S3Error("MalformedXML")
    try:
        source = data.decode("utf-8-sig")
        # NUL: expat would take the document for UTF-16, where a document type looks otherwise
        if "\0" in source or "<!DOCTYPE" in source or "<!ENTITY" in source:
            raise S3Error("MalformedXML")
        tree = ElementTree.fromstring(source)  # noqa: S314 - document types, where the dangers are, were refused above
    except (ElementTree.ParseError, ValueError, LookupError):
        raise S3Error("MalformedXML") from None
    for each in tree.iter():
        each.tag = each.tag.rpartition("}")[2]
    if tree.tag != root:
        raise S3Error("MalformedXML")
    return tree


def child(tree: ElementTree.Element, name: str) -> str | None:
    found = tree.find(name)
    return None if found is None else (found.text or "")
