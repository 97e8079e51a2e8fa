"""The client's side of `bucketlog.admin`: requests to a store or a gateway, signed as S3 requests with the root key."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from bucketlog.credentials import RootCredentials
from gateway.claim import ALGORITHM, Claim
from gateway.request import Request
from gateway.sigv4 import EMPTY_SHA256, canonical_request, sign, signing_key

TIMEOUT_S = 60.0  # longer than a command waits for its outcome


class Refused(Exception):
    """What was asked is not done; the text says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class AdminClient:
    def __init__(self, endpoint: str, region: str, keys: RootCredentials) -> None:
        """`endpoint` is http[s]://host[:port]. Raises `ValueError` for any other."""
        address = urlsplit(endpoint)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"{endpoint} is no address of a store: http[s]://host[:port]")
        self._endpoint = endpoint
        self._host = address.netloc
        self._kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        self._region = region
        self._keys = keys

    def ask(self, method: str, path: str) -> Any:
        """The answer's JSON. Raises `Refused`, or `OSError` where nobody answers."""
        connection, answer = self._send(method, path, "", TIMEOUT_S)
        try:
            return json.loads(self._checked(answer).read())
        finally:
            connection.close()

    def lines(self, path: str, query: Mapping[str, str]) -> Iterator[bytes]:
        """An answer that goes on for ever, by lines."""
        connection, answer = self._send("GET", path, urlencode(query), None)
        try:
            yield from self._checked(answer)
        except http.client.HTTPException as error:
            raise OSError(f"{self._endpoint} broke off: {error}") from error
        finally:
            connection.close()

    def _send(
        self, method: str, path: str, query: str, timeout_s: float | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self._kind(self._host, timeout=timeout_s)
        try:
            connection.request(method, f"{path}?{query}" if query else path, headers=self._headers(method, path, query))
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise OSError(f"{self._endpoint} cannot be reached: {error}") from error

    def _checked(self, answer: http.client.HTTPResponse) -> http.client.HTTPResponse:
        if answer.status == 200:
            return answer
        said = answer.read().decode(errors="replace").strip()
        try:
            refusal = json.loads(said)
            raise Refused(refusal["error"], refusal["message"])
        except (ValueError, KeyError, TypeError):
            raise Refused(f"{self._endpoint} answers {answer.status}", said[:200]) from None

    def _headers(self, method: str, path: str, query: str) -> dict[str, str]:
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = f"{date[:8]}/{self._region}/s3/aws4_request"
        headers = {"host": self._host, "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": date}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        asgi = {"method": method, "path": path, "query_string": query.encode(), "headers": raw}
        claim = Claim(self._keys.access_key, scope, sorted(headers), "", date)
        key = signing_key(self._keys.secret(self._keys.access_key) or "", scope)
        canonical = canonical_request(Request(asgi, _no_body).parse(asgi, ""), claim.signed, EMPTY_SHA256)
        signature = sign(key, claim, canonical.encode())
        credential = f"Credential={claim.access_key}/{scope}"
        signed = f"{ALGORITHM} {credential},SignedHeaders={';'.join(claim.signed)},Signature={signature}"
        return headers | {"authorization": signed}


async def _no_body() -> dict[str, object]:
    return {"type": "http.request", "body": b"", "more_body": False}
