"""HTTP as a client has it: a signed request to a gateway's ASGI app, which is answered, breaks off, or is given up."""

import asyncio
import contextvars
import hashlib
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from starlette.types import ASGIApp, Message, Scope

from gateway import sigv4
from gateway.claim import Claim
from gateway.request import Request
from gateway.tally import IS_GONE
from tests.gateway.chunks import UNSIGNED, chunked, crc32
from tests.simulation.data.network import Machine

ACCESS_KEY, SECRET_KEY, USER = "KEY", "a secret key", "root"
REGION = "eu-central-1"  # not the one in which a bucket may be created twice
HOST = "s3.example.com"
PATIENCE_S = 40.0  # longer than any gateway's
TAKEN_MAX = 60  # pieces of an answer
PIECE_BYTES = 12_000  # of a body as it is sent
REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="")  # what a gateway is to call it


class Keys:
    """`gateway.authn.Credentials`."""

    def secret(self, access_key: str) -> str | None:
        return SECRET_KEY if access_key == ACCESS_KEY else None

    def user(self, access_key: str) -> str:
        return USER


class Server(Protocol):
    machine: Machine
    app: ASGIApp | None


class Asked(NamedTuple):
    id: str
    method: str
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""
    sends_s: float = 0.0  # between two pieces of the body
    takes_s: float = 0.0  # what it takes the client to read a piece of the answer
    leaves_after: int | None = None  # pieces of the body

    def __str__(self) -> str:
        return f"{self.id}, {self.method} {self.path}?{urlencode(self.query)}"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Of an error; empty where it is none. HEAD has no document."""
        if self.status < 300:
            return ""
        return self.document().findtext("Code", "") if self.body else f"{HTTPStatus(self.status).phrase}"

    def document(self) -> ElementTree.Element:
        tree = ElementTree.fromstring(self.body)
        for each in tree.iter():
            each.tag = each.tag.rpartition("}")[2]
        return tree

    @property
    def etag(self) -> str:
        """Of the header, or of the document."""
        return (self.headers.get("etag") or self.document().findtext("ETag") or "").strip('"')


class NoAnswer(Exception):
    """Nobody can say what was done."""


async def ask(server: Server, asked: Asked, now_s: float, rng: random.Random) -> Answer:
    """Raises `NoAnswer`; its cause is what ended the request in the gateway, if anything did."""
    machine, app = server.machine, server.app
    if app is None or machine.is_dead:
        raise NoAnswer("nobody listens")
    exchange = _Exchange(asked, now_s, rng)

    async def serve() -> None:
        REQUEST.set(asked.id)
        await app(exchange.scope, exchange.receive, exchange.send)

    serving = machine.run(serve())
    waited_for: set[asyncio.Future[Any]] = {serving, machine.ended}
    patience_s = PATIENCE_S + asked.takes_s * TAKEN_MAX
    await asyncio.wait(waited_for, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        exchange.is_gone = True
        raise NoAnswer("the gateway died" if machine.is_dead else "it was given up")
    if (error := serving.exception()) is not None:
        raise NoAnswer(f"the answer broke off: {error!r}") from error
    if not exchange.is_over:
        raise NoAnswer("there is no answer")
    return Answer(exchange.status, exchange.headers, b"".join(exchange.body))


class _Exchange:
    """One request on its connection, both ways."""

    def __init__(self, asked: Asked, now_s: float, rng: random.Random) -> None:
        self._asked = asked
        self.is_gone = False
        sent, headers = _framed(asked, rng)
        self.scope = _signed(asked, headers | {"content-length": str(len(sent))}, now_s)
        self.scope["state"] = {IS_GONE: lambda: self.is_gone}
        self._pieces = [sent[start : start + PIECE_BYTES] for start in range(0, len(sent), PIECE_BYTES)] or [b""]
        self._sent = 0
        self.is_over = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []

    async def receive(self) -> Message:
        if self._sent == self._asked.leaves_after or self._sent == len(self._pieces):
            self.is_gone = True
        if self.is_gone:
            return {"type": "http.disconnect"}
        await asyncio.sleep(self._asked.sends_s)
        self._sent += 1
        more = self._sent < len(self._pieces)
        return {"type": "http.request", "body": self._pieces[self._sent - 1], "more_body": more}

    async def send(self, message: Message) -> None:
        if self.is_gone:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        if message.get("body"):
            self.body.append(message["body"])
            await asyncio.sleep(self._asked.takes_s)
        self.is_over = not message.get("more_body", False)


def _framed(asked: Asked, rng: random.Random) -> tuple[bytes, dict[str, str]]:
    """A body in one of the ways in which SDKs send it, and the headers that say so."""
    body, mode = asked.body, rng.choice(["signed", "unsigned", "trailer"])
    if mode == "trailer" and asked.method == "PUT" and body:
        trailer = f"x-amz-checksum-crc32:{crc32(body)}".encode()
        headers = {
            "x-amz-content-sha256": UNSIGNED,
            "x-amz-decoded-content-length": str(len(body)),
            "x-amz-trailer": "x-amz-checksum-crc32",
        }
        return chunked([body], trailer, is_signed=False), headers
    digest = sigv4.UNSIGNED if mode == "unsigned" else hashlib.sha256(body).hexdigest()
    return body, {"x-amz-content-sha256": digest}


def _signed(asked: Asked, headers: dict[str, str], now_s: float) -> Scope:
    date = f"{datetime.fromtimestamp(now_s, UTC):%Y%m%dT%H%M%SZ}"
    headers = {**headers, **asked.headers, "host": HOST, "x-amz-date": date}
    claim = Claim(ACCESS_KEY, f"{date[:8]}/{REGION}/s3/aws4_request", sorted(headers), "", date)
    unsigned = _scope(asked, headers)
    request = Request(unsigned, _nothing).parse(unsigned, "")
    canonical = sigv4.canonical_request(request, claim.signed, headers["x-amz-content-sha256"])
    signature = sigv4.sign(sigv4.signing_key(SECRET_KEY, claim.scope), claim, canonical.encode())
    credential = f"Credential={ACCESS_KEY}/{claim.scope}"
    return _scope(asked, headers | {"authorization": _authorization(credential, claim, signature)})


def _authorization(credential: str, claim: Claim, signature: str) -> str:
    return f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={';'.join(claim.signed)}, Signature={signature}"


def _scope(asked: Asked, headers: Mapping[str, str]) -> Scope:
    raw = quote(asked.path).encode()
    return {
        "type": "http",
        "method": asked.method,
        "scheme": "http",
        "path": asked.path,
        "raw_path": raw,
        "query_string": urlencode(asked.query).encode(),
        "headers": list(_raw(headers)),
    }


def _raw(headers: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers.items():
        yield name.encode(), value.encode("latin-1")


async def _nothing() -> Message:
    raise AssertionError("nobody reads the body of what is signed")
