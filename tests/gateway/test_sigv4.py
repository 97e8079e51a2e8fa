"""Signatures, against those that botocore makes: by header, by presigned URL, and what is refused."""

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.errors import S3Error
from gateway.request import Request
from gateway.sigv4 import SKEW_S_MAX, authenticate
from tests.gateway.requests import ACCESS_KEY, SECRET, Keys, request

NOW = 1_800_000_000
HOST = "http://127.0.0.1:9000"
WEEK_S = 7 * 24 * 3600


class Clock(datetime.datetime):
    """Botocore's clock, which it asks in two ways."""

    @classmethod
    def utcnow(cls) -> "Clock":
        return cls.fromtimestamp(NOW, tz=datetime.UTC).replace(tzinfo=None)

    @classmethod
    def now(cls, tz: Any = None) -> "Clock":
        return cls.fromtimestamp(NOW, tz=tz)


@pytest.fixture(autouse=True)
def at_one_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("botocore.compat.get_current_datetime", lambda remove_tzinfo=True: Clock.utcnow(), raising=False)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: Clock.utcnow(), raising=False)
    monkeypatch.setattr("time.time", lambda: NOW)
    yield


def by_header(method: str = "GET", url: str = f"{HOST}/b/k", headers: dict[str, str] | None = None) -> Request:
    aws = AWSRequest(method, url, {"host": "127.0.0.1:9000", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"} | (headers or {}))
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET), "s3", "us-east-1").add_auth(aws)
    return request(method, str(aws.url), dict(aws.headers.items()))


def presigned(url: str = f"{HOST}/b/k", expires: int = 3600) -> Request:
    aws = AWSRequest("GET", url, {})
    S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET), "s3", "us-east-1", expires=expires).add_auth(aws)
    return request("GET", str(aws.url), {"host": "127.0.0.1:9000"})


def refused(asked: Request, now_s: float = NOW) -> str:
    with pytest.raises(S3Error) as raised:
        authenticate(asked, Keys(), now_s)
    assert asked.principal == ""
    return raised.value.code


URLS = [
    "/",
    "/b/k",
    "/b/with%20space",
    "/b/per%25cent",
    "/b/a%2Bb",
    "/b/%C3%BC%F0%9F%98%80",
    "/b//double//slash/",
    "/b/a~b-c_d.e",
    "/b/%21%2A%27%28%29",
    "/b?acl",
    "/b?prefix=a%2Fb&delimiter=%2F&empty=&max-keys=5",
    "/b?prefix=%C3%BC%20%2B&list-type=2",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_botocores_header_is_accepted(method: str, url: str) -> None:
    asked = by_header(method, HOST + url)
    authenticate(asked, Keys(), NOW)
    assert asked.principal == "someone"


@pytest.mark.parametrize("url", URLS)
def test_botocores_presigned_url_is_accepted(url: str) -> None:
    asked = presigned(HOST + url)
    authenticate(asked, Keys(), NOW)
    assert asked.principal == "someone"


def test_inner_spaces_of_a_header_count_as_one() -> None:
    authenticate(by_header(headers={"x-amz-meta-a": "  one   two  "}), Keys(), NOW)


@pytest.mark.parametrize("off_s", [-SKEW_S_MAX, 0, SKEW_S_MAX])
def test_a_clock_may_be_a_little_off(off_s: int) -> None:
    authenticate(by_header(), Keys(), NOW + off_s)


@pytest.mark.parametrize("off_s", [-SKEW_S_MAX - 1, SKEW_S_MAX + 1])
def test_a_clock_may_not_be_far_off(off_s: int) -> None:
    assert refused(by_header(), NOW + off_s) == "RequestTimeTooSkewed"


def changed(asked: Request, **headers: str) -> Request:
    asked.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return asked


def test_whatever_is_changed_is_noticed() -> None:
    method, path, query = by_header(), by_header(), by_header(url=f"{HOST}/b?prefix=a")
    method.method, path.path, query.query["prefix"] = "DELETE", "/b/other", "b"
    assert {refused(each) for each in (method, path, query)} == {"SignatureDoesNotMatch"}
    assert refused(changed(by_header(), host="elsewhere")) == "SignatureDoesNotMatch"
    assert refused(changed(by_header(), x_amz_content_sha256="0" * 64)) == "SignatureDoesNotMatch"
    assert refused(changed(by_header(), x_amz_meta_added="1")) == "AccessDenied"


def test_a_signature_of_another_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.gateway.test_sigv4.SECRET", "another")
    assert refused(by_header()) == "SignatureDoesNotMatch"
    assert refused(presigned()) == "SignatureDoesNotMatch"


def test_an_unknown_key() -> None:
    asked = by_header()
    asked.headers["authorization"] = asked.headers["authorization"].replace(ACCESS_KEY, "AKIAUNKNOWN")
    assert refused(asked) == "InvalidAccessKeyId"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-MD5", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Credential", "AWS AKIA:xyz", "InvalidRequest"),
        ("Signature=", "Signature=zz", "AuthorizationHeaderMalformed"),
        ("SignedHeaders=", "Signed=", "AuthorizationHeaderMalformed"),
        ("/s3/", "/sqs/", "AuthorizationHeaderMalformed"),
        ("aws4_request", "aws5_request", "AuthorizationHeaderMalformed"),
        ("/20270115/", "/20270114/", "AuthorizationHeaderMalformed"),
    ],
)
def test_a_malformed_authorization(old: str, new: str, code: str) -> None:
    asked = by_header()
    assert old in asked.headers["authorization"]
    asked.headers["authorization"] = asked.headers["authorization"].replace(old, new)
    assert refused(asked) == code


def test_what_a_signed_request_must_have() -> None:
    undated, unhashed = by_header(), by_header()
    del undated.headers["x-amz-date"], unhashed.headers["x-amz-content-sha256"]
    assert refused(undated) == "AccessDenied"
    assert refused(unhashed) == "MissingSecurityHeader"
    assert refused(changed(by_header(), x_amz_date="20271315T000000Z")) == "AccessDenied"
    assert refused(request("GET", "/b/k", {"host": "h"})) == "AccessDenied"


@pytest.mark.parametrize(
    ("expires", "now_s", "code"),
    [
        (60, NOW + 61, "AccessDenied"),
        (60, NOW - SKEW_S_MAX - 1, "AccessDenied"),
        (0, NOW, "AuthorizationQueryParametersError"),
        (-5, NOW, "AuthorizationQueryParametersError"),
        (WEEK_S + 1, NOW, "AuthorizationQueryParametersError"),
    ],
)
def test_a_presigned_url_has_its_time(expires: int, now_s: int, code: str) -> None:
    assert refused(presigned(expires=expires), now_s) == code


def test_a_presigned_url_lasts_to_its_end() -> None:
    authenticate(presigned(expires=60), Keys(), NOW + 60)
    authenticate(presigned(expires=WEEK_S), Keys(), NOW + WEEK_S)


@pytest.mark.parametrize(
    "name", ["X-Amz-Algorithm", "X-Amz-Date", "X-Amz-Credential", "X-Amz-Expires", "X-Amz-SignedHeaders"]
)
def test_a_presigned_url_without_one_of_its_parameters(name: str) -> None:
    asked = presigned()
    del asked.query[name]
    assert refused(asked) in ("AuthorizationQueryParametersError", "SignatureDoesNotMatch", "AccessDenied")


def test_a_presigned_url_covers_its_query() -> None:
    asked = presigned(f"{HOST}/b/k?response-content-type=text%2Fhtml")
    authenticate(asked, Keys(), NOW)
    asked = presigned(f"{HOST}/b/k?response-content-type=text%2Fhtml")
    asked.query["response-content-type"] = "text/plain"
    assert refused(asked) == "SignatureDoesNotMatch"


def test_version_2_is_heard_in_presigned_urls_only() -> None:
    aws = AWSRequest("GET", f"{HOST}/b/k", {})
    HmacV1QueryAuth(Credentials(ACCESS_KEY, SECRET), expires=60).add_auth(aws)
    url, host = str(aws.url), {"host": "127.0.0.1:9000"}
    asked = request("GET", url, host)
    authenticate(asked, Keys(), NOW)
    assert asked.principal == "someone"
    late = request("GET", url, host)
    assert refused(late, NOW + 61) == "AccessDenied"
    other = request("GET", url.replace("/b/k", "/b/other"), host)
    assert refused(other) == "SignatureDoesNotMatch"
