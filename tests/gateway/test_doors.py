"""Doors that other stores left open once, each tried here: who is nobody gets in by none of them.

Elsewhere: form policies (test_post), what a wrong signature is told (test_claim), `..` and hosts that only end like the
domain (test_request, test_answers), conflicting sub-resources (test_router), metrics (tests/bucketlog/test_metrics).
"""

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bucketlog.admin import create_admin_app, signed
from bucketlog.credentials import RootCredentials
from bucketlog.roles.cluster import cluster_secret
from bucketlog.settings import Settings
from datanode.api import create_node_app
from gateway import copy, sigv4
from gateway.app import S3App
from gateway.attributes import from_headers
from gateway.claim import Claim
from gateway.context import Gateway
from gateway.errors import S3Error
from gateway.model import routes_of_s3
from gateway.tally import ACCESS
from processors.reads import Bucket, Found
from processors.service import create_read_service
from tests.gateway.requests import ACCESS_KEY, SECRET, Keys, receive_from, request
from topics import request_id
from topics.secret import ClusterSecret

NOTHING: Any = None
BY_NODES = ClusterSecret(b"sixteen bytes or more")


class OneBucket:
    """Reads of a store in which every name is a bucket of `owner`."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    async def bucket(self, name: str) -> Bucket:
        del name
        return Bucket(self._owner, "us-east-1", "i", 0)

    async def current(self, name: str, key: str) -> Found:
        return Found(await self.bucket(name), None)


def made(owner: str = "someone") -> Gateway:
    reads: Any = OneBucket(owner)
    return Gateway(reads, NOTHING, NOTHING, Keys(), "us-east-1", logs_access=True)


def ask(
    app: Any, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of the application's answer."""
    path, _, query = url.partition("?")
    sent = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode()}
    scope |= {"headers": sent, "client": ("192.0.2.7", 1), "http_version": "1.1", "scheme": "http", "root_path": ""}
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    asyncio.run(app(scope, receive_from([body]), send))
    answered = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return messages[0]["status"], answered, b"".join(each.get("body", b"") for each in messages[1:])


HMAC, SCOPE = "AWS4-HMAC-SHA256", "20270115/us-east-1/s3/aws4_request"
OF_S3 = [each for each in routes_of_s3() if each.name != "WriteGetObjectResponse"]
NOBODYS = {
    "unsigned": ({}, ""),
    "an unknown key": ({"authorization": f"{HMAC} Credential=n/{SCOPE},SignedHeaders=host,Signature={'0' * 64}"}, ""),
    "basic": ({"authorization": "Basic dXNlcjpwYXNz"}, ""),
    "between nodes": ({"authorization": BY_NODES.sign("GET", "/b/k", "", "", 1_800_000_000)}, ""),
    "version 2": ({"authorization": f"AWS {ACCESS_KEY}:AAAA"}, ""),
    "a query without a signature": ({}, f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={ACCESS_KEY}"),
    "an unsigned trailer and a key in the query": (
        {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-trailer": "x-amz-checksum-crc32"},
        f"X-Amz-Credential={ACCESS_KEY}%2F20270115%2Fus-east-1%2Fs3%2Faws4_request",
    ),
    "version 2 in the query": ({}, f"AWSAccessKeyId={ACCESS_KEY}&Signature=AAAA&Expires=1800000000"),
}


@pytest.mark.parametrize(("headers", "query"), NOBODYS.values(), ids=NOBODYS)
def test_no_operation_has_a_verifier_of_its_own(headers: dict[str, str], query: str) -> None:
    """All operations of S3, built or not: had one been begun, it would have failed here for want of a store (500)."""
    app = S3App(made())
    for each in OF_S3:
        path, _, named = each.uri.replace("{Bucket}", "bucket").replace("{Key+}", "key").partition("?")
        fields = "&".join(part for part in (named, *(f"{name}=1" for name in sorted(each.required)), query) if part)
        given = {"host": "127.0.0.1"} | dict.fromkeys(each.headers, "bucket/key") | headers
        status, _, _ = ask(app, each.method, f"{path}?{fields}", given)
        assert status in (400, 403), each.name


def test_a_header_of_ours_from_a_client_decides_nothing() -> None:
    status, answered, _ = ask(S3App(made()), "GET", "/b/k", {request_id.HEADER: "spoofed", "x-amz-request-id": "spoofed"})
    assert status == 403
    assert answered["x-amz-request-id"] != "spoofed"


def test_there_is_no_secret_between_nodes_but_the_operators() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        cluster_secret(Settings(cluster_secret=SecretStr("")))
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert defaults["access_key_id"] == ""
    for name in ("cluster_secret", "secret_access_key", "metrics_token"):
        assert defaults[name] == SecretStr("")


@pytest.mark.parametrize(
    "asked",
    [
        ("PUT", "/a?b=1", "5", "", 100),
        ("GET", "/a?b=2", "5", "", 100),
        ("GET", "/a", "5", "", 100),
        ("GET", "/a?b=1", "6", "", 100),
        ("GET", "/a?b=1", "5", "bytes=0-1", 100),
        ("GET", "/a?b=1", "5", "", 401),
    ],
)
def test_a_signature_between_nodes_is_good_for_one_request(asked: tuple[str, str, str, str, int]) -> None:
    """Its method, path, query, length, range and time; the bytes of a blob have their own checksum."""
    header = BY_NODES.sign("GET", "/a?b=1", "5", "", 100)
    assert BY_NODES.allows(header, "GET", "/a?b=1", "5", "", 100)
    assert not BY_NODES.allows(header, *asked)
    assert not ClusterSecret(b"another secret of it").allows(header, "GET", "/a?b=1", "5", "", 100)


INTERNAL = {
    "data node": (create_node_app(NOTHING, BY_NODES), "/groups/1/blobs/00000000000000000000000000000000"),
    "a data node's list": (create_node_app(NOTHING, BY_NODES), "/groups/1/blobs"),
    "read service": (create_read_service({}, lambda _: True, BY_NODES, decided=dict), "/partitions/1/buckets?args="),
    "decided": (create_read_service({}, lambda _: True, BY_NODES, decided=dict), "/decided"),
}


@pytest.mark.parametrize(("app", "path"), INTERNAL.values(), ids=INTERNAL)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_no_route_between_nodes_is_open(app: Any, path: str, method: str) -> None:
    for headers in ({}, {"authorization": "Bucketlog-HMAC-SHA256 1800000000:" + "0" * 64}):
        assert ask(app, method, path, headers)[0] in (401, 405)


def test_what_an_operator_asks_is_the_root_users_alone() -> None:
    async def answer(*_: object) -> Any:
        raise AssertionError("it was answered")

    path = "/-/status"
    app = create_admin_app(S3App(made()), [signed(path, answer, Keys())], "")  # whose one key is not root's
    headers = {"host": "h", "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": "20270115T080000Z"}
    scope = "20270115/us-east-1/s3/aws4_request"
    claim = Claim(ACCESS_KEY, scope, sorted(headers), "", headers["x-amz-date"])
    canonical = sigv4.canonical_request(request("GET", path, headers), claim.signed, "UNSIGNED-PAYLOAD").encode()
    signature = sigv4.sign(sigv4.signing_key(SECRET, scope), claim, canonical)
    names = ";".join(claim.signed)
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope},SignedHeaders={names},Signature={signature}"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: 1_800_000_000)
        assert ask(app, "GET", path, headers)[0] == 403
    for other in ("/-", "/-x/status", "/-status"):  # the prefix with its boundary: these are S3's
        assert b"<Error>" in ask(app, "GET", other)[2]


@pytest.mark.parametrize("source", ["http://169.254.169.254/latest", "//127.0.0.1:9000/b/k", "file:///etc/passwd"])
def test_nothing_is_fetched_for_a_client(source: str) -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        copy.named_source(source)


@pytest.mark.parametrize("url", ["/b/k", "/b/k?uploadId=u&partNumber=1"])
def test_a_copy_needs_a_right_to_its_source(url: str) -> None:
    asked = request("PUT", url, {"x-amz-copy-source": "other/k"})
    asked.principal = "someone"
    with pytest.raises(S3Error, match="AccessDenied"):
        asyncio.run(copy.source(made(owner="another"), asked))


def test_who_a_client_says_that_it_comes_from_is_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, ACCESS):
        ask(S3App(made()), "GET", "/b/k", {"x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1"})
    assert [record.__dict__["peer"] for record in caplog.records if record.name == ACCESS] == ["192.0.2.7"]


def test_no_origin_is_let_in() -> None:
    for method in ("GET", "PUT", "OPTIONS"):
        headers = {"origin": "http://evil.example", "access-control-request-method": "PUT", "cookie": "a=b"}
        _, answered, _ = ask(S3App(made()), method, "/b/k", headers)
        assert not [name for name in answered if name.startswith("access-control-")]


def test_no_secret_and_no_signature_is_in_a_log_or_a_repr(caplog: pytest.LogCaptureFixture) -> None:
    given = "abcdef" * 10 + "abcd"
    headers = {"host": "h", "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": "20270115T080000Z"}
    scope = f"{ACCESS_KEY}/20270115/us-east-1/s3/aws4_request"
    names = ";".join(sorted(headers))
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={scope},SignedHeaders={names},Signature={given}"
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.DEBUG):
        patch.setattr("time.time", lambda: 1_800_000_000)
        status, _, body = ask(S3App(made()), "GET", f"/b/k?X=1&token={given}", headers)
    assert (status, b"SignatureDoesNotMatch" in body, SECRET.encode() in body) == (403, True, False)
    logged = " ".join(str(record.__dict__) for record in caplog.records)
    assert "/b/k" in logged
    for each in (SECRET, given):
        assert each not in logged
    shown = f"{RootCredentials('a', SECRET)!r} {BY_NODES!r} {Settings(secret_access_key=SecretStr(SECRET))!r}"
    assert SECRET not in shown
    assert "sixteen bytes" not in shown


@pytest.mark.parametrize("path", ["/debug/pprof/", "/metrics", "/minio/v2/metrics/cluster", "/-/profile", "/-/metrics/"])
def test_neither_metrics_nor_profiles_are_open_under_other_names(path: str) -> None:
    app = create_admin_app(S3App(made()), [], "")
    assert ask(app, "GET", path)[0] in (403, 404)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-server-side-encryption": "AES256"},
        {"x-amz-server-side-encryption": "aws:kms"},
        {"x-amz-server-side-encryption-customer-algorithm": "AES256", "x-amz-server-side-encryption-customer-key": "a"},
    ],
)
def test_nothing_is_kept_plain_that_was_to_be_encrypted(headers: dict[str, str]) -> None:
    with pytest.raises(S3Error, match="NotImplemented"):
        from_headers(headers)


def test_there_are_no_sessions_whose_policy_could_be_passed_over() -> None:
    for body in (b"Action=AssumeRole&Version=2011-06-15", b"Action=GetSessionToken"):
        headers = {"content-type": "application/x-www-form-urlencoded", "content-length": str(len(body))}
        assert ask(S3App(made()), "POST", "/", headers, body)[0] in (403, 405, 501)


WORDS = st.text(st.characters(min_codepoint=1, max_codepoint=0x2FF, exclude_categories=["Cs"]), max_size=12)
FIELDS = st.sampled_from(
    ["authorization", "x-amz-date", "range", "content-md5", "x-amz-copy-source", "x-amz-acl", "expect"]
)


@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"]),
    WORDS,
    st.dictionaries(st.sampled_from(["acl", "uploads", "uploadId", "X-Amz-Signature", "X-Amz-Date", "list-type"]), WORDS),
    st.dictionaries(FIELDS, WORDS),
)
def test_nothing_that_is_malformed_is_an_error_of_ours(
    method: str, path: str, query: dict[str, str], headers: dict[str, str]
) -> None:
    fields = "&".join(f"{name}={value}" for name, value in query.items())
    status, _, _ = ask(S3App(made()), method, f"/{path.replace('?', '')}?{fields}", headers)
    assert 400 <= status < 500 or status == 501
