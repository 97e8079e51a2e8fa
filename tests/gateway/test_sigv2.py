"""Version 2 signatures against those that botocore makes, and those of the S3 API's text; what is refused."""

import base64
import hmac
from email.utils import formatdate
from typing import Any

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.authn import authenticate
from gateway.claim import SKEW_S_MAX
from gateway.errors import S3Error
from gateway.model import subresources
from gateway.request import Request, http_date
from tests.gateway.requests import ACCESS_KEY, SECRET, Keys, request

NOW = 1_800_000_000
HOST = "127.0.0.1:9000"
WEEK_S = 7 * 24 * 3600


@pytest.fixture(autouse=True)
def at_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    monkeypatch.setattr("botocore.auth.formatdate", lambda *_, **__: formatdate(NOW, usegmt=True))


def check(asked: Request, now_s: float = NOW, domain: str = "") -> None:
    authenticate(asked, Keys(), now_s, v2_domain=domain)
    assert asked.principal == "someone"


def refused(asked: Request, now_s: float = NOW, domain: str = "") -> str:
    with pytest.raises(S3Error) as raised:
        authenticate(asked, Keys(), now_s, v2_domain=domain)
    assert asked.principal == ""
    return raised.value.code


def signature(text: str) -> str:
    """As the S3 API's text has it."""
    return base64.b64encode(hmac.new(SECRET.encode(), text.encode(), "sha1").digest()).decode()


def presigned(url: str = "/b/k", method: str = "GET", expires: int = 60, headers: dict[str, str] | None = None) -> Request:
    path = url.partition("?")[0]
    auth_path = "/b/" if path == "/b" else path  # as botocore's clients set it
    aws = AWSRequest(method, f"http://{HOST}{url}", headers or {}, auth_path=auth_path)
    HmacV1QueryAuth(Credentials(ACCESS_KEY, SECRET), expires=expires).add_auth(aws)
    return request(method, str(aws.url), {"host": HOST})


def by_header(url: str = "/b/k", method: str = "GET", headers: dict[str, str] | None = None) -> Request:
    aws = AWSRequest(method, f"http://{HOST}{url}", headers or {}, auth_path=url.partition("?")[0])
    HmacV1Auth(Credentials(ACCESS_KEY, SECRET)).add_auth(aws)
    return request(method, url, {**dict(aws.headers.items()), "host": HOST})


def changed(asked: Request, **headers: str) -> Request:
    asked.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return asked


URLS = [
    "/",
    "/b",
    "/b/",
    "/b/a%20b",
    "/b//k",
    "/b/~a",
    "/b?uploads",
    "/b/k?response-expires=a%20b",
    "/b?list-type=2&prefix=a",
]


@pytest.mark.parametrize("url", URLS)
def test_botocores_url_is_accepted(url: str) -> None:
    check(presigned(url))


@pytest.mark.parametrize("url", URLS)
def test_botocores_header_is_accepted(url: str) -> None:
    check(by_header(url))
    check(by_header(url, "PUT", {"content-type": "text/plain", "x-amz-meta-b": "2", "x-amz-meta-a": "1"}))


@pytest.mark.parametrize("url", ["/b/it's(1)!*", "/b/it%27s%281%29%21%2A", "/b/%7Ea"])
def test_the_path_is_signed_as_it_was_sent(url: str) -> None:
    expires = NOW + 60
    mark = signature(f"GET\n\n\n{expires}\n{url}").replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    check(request("GET", f"{url}?AWSAccessKeyId={ACCESS_KEY}&Expires={expires}&Signature={mark}", {"host": HOST}))


def test_the_url_of_the_s3_api() -> None:
    url = f"/photos/puppy.jpg?AWSAccessKeyId={ACCESS_KEY}&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620"
    asked = request("GET", url, {"host": "johnsmith.s3.amazonaws.com"}, domain="s3.amazonaws.com")
    check(asked, 1_175_139_620, "s3.amazonaws.com")


@pytest.mark.parametrize(
    ("method", "url", "headers", "mark"),
    [
        ("GET", "/photos/puppy.jpg", {"date": "Tue, 27 Mar 2007 19:36:42 +0000"}, "bWq2s1WEIj+Ydj0vQ697zp+IXMU="),
        (
            "PUT", "/photos/puppy.jpg",
            {"content-type": "image/jpeg", "content-length": "94328", "date": "Tue, 27 Mar 2007 21:15:45 +0000"},
            "MyyxeRY7whkBe+bq8fHCL/2kKUg=",
        ),
        (
            "GET", "/?prefix=photos&max-keys=50&marker=puppy",
            {"date": "Tue, 27 Mar 2007 19:42:41 +0000"}, "htDYFYduRNen8P9ZfE/s9SuKy0U=",
        ),
        ("GET", "/?acl", {"date": "Tue, 27 Mar 2007 19:44:46 +0000"}, "c2WLPFtWHVgbEmeEG93a4cG37dM="),
    ],
)  # fmt: skip
def test_the_examples_of_the_s3_api(method: str, url: str, headers: dict[str, str], mark: str) -> None:
    """ "Signing and Authenticating REST Requests": its signatures are the only proof there is."""
    host = {"host": "johnsmith.s3.amazonaws.com", "authorization": f"AWS {ACCESS_KEY}:{mark}"}
    asked = request(method, url, {**headers, **host}, domain="s3.amazonaws.com")
    date = http_date(headers["date"])
    assert date is not None
    check(asked, date.timestamp(), "s3.amazonaws.com")


@pytest.mark.parametrize("name", sorted(subresources() - {"list-type"}))
@pytest.mark.parametrize("make", [presigned, by_header])
def test_a_sub_resource_that_was_not_signed_is_refused(make: Any, name: str) -> None:
    for path in ("/b", "/b/k"):
        for method in ("GET", "PUT", "DELETE"):
            asked = make(path, method)
            asked.query[name] = ""
            assert refused(asked) == "SignatureDoesNotMatch"
            asked = make(path, method)
            asked.query[name] = "1"
            assert refused(asked) == "SignatureDoesNotMatch"


def test_a_sub_resource_that_botocore_does_not_know_can_be_signed() -> None:
    expires = NOW + 60
    mark = signature(f"GET\n\n\n{expires}\n/b/?encryption").replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    check(request("GET", f"/b?encryption&AWSAccessKeyId={ACCESS_KEY}&Expires={expires}&Signature={mark}", {"host": HOST}))


@pytest.mark.parametrize("name", ["versionId", "response-content-type", "partNumber", "uploadId"])
def test_other_parameters_that_count_are_signed(name: str) -> None:
    asked = presigned()
    asked.query[name] = "1"
    assert refused(asked) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("AWSAccessKeyId", "AKIAUNKNOWN", "InvalidAccessKeyId"),
        ("Signature", "", "SignatureDoesNotMatch"),
        ("Signature", "ü", "SignatureDoesNotMatch"),
        ("Expires", "", "AccessDenied"),
        ("Expires", "-1", "AccessDenied"),
        ("Expires", "9" * 5000, "AccessDenied"),
        ("Expires", "253402300799", "AccessDenied"),  # the year 9999
        ("Expires", str(NOW + 61), "SignatureDoesNotMatch"),
    ],
)
def test_a_url_that_was_changed(name: str, value: str, code: str) -> None:
    asked = presigned()
    asked.query[name] = value
    assert refused(asked) == code


def test_a_url_covers_method_path_and_headers() -> None:
    deleting, other = presigned(), presigned()
    deleting.method = "DELETE"
    assert refused(deleting) == "SignatureDoesNotMatch"
    other.key, other.raw_path = "other", "/b/other"
    assert refused(other) == "SignatureDoesNotMatch"
    for name in ("content_md5", "content_type", "x_amz_copy_source"):
        assert refused(changed(presigned(), **{name: "b/other"})) == "SignatureDoesNotMatch"


def test_a_url_lasts_a_week_at_most() -> None:
    check(presigned(expires=60), NOW + 60)
    assert refused(presigned(expires=60), NOW + 61) == "AccessDenied"
    check(presigned(expires=WEEK_S))
    assert refused(presigned(expires=WEEK_S + 1)) == "AccessDenied"


def test_what_botocore_puts_into_the_query_is_a_header() -> None:
    given = {"content-type": "image/png", "x-amz-meta-a": "b", "x-amz-storage-class": "STANDARD", "x-amz-acl": "private"}
    asked = presigned(method="PUT", headers=given)
    check(asked)
    assert given.items() <= asked.headers.items()
    for name in given:
        other = presigned(method="PUT", headers=given)
        other.headers[name] = "other"
        assert refused(other) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "host", ["", "elsewhere.example", "elsewhere.example:9000", "s3.example.com.evil.example", "evils3.example.com"]
)
def test_a_host_that_is_not_the_stores_is_refused(host: str) -> None:
    """It is not signed; version 4 has it among the signed headers."""
    for domain in ("", "s3.example.com"):
        assert refused(changed(presigned(), host=host), domain=domain) == "AccessDenied"
        assert refused(changed(by_header(), host=host), domain=domain) == "AccessDenied"


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        (HOST, ""), ("10.1.2.3", "s3.example.com"), ("[::1]:9000", ""), ("localhost:9000", ""),
        ("s3.example.com", "s3.example.com"), ("S3.example.com:443", "s3.Example.com"),
    ],
)  # fmt: skip
def test_hosts_of_the_store(host: str, domain: str) -> None:
    check(changed(presigned(), host=host), domain=domain)


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (f"AWS {ACCESS_KEY}", "InvalidArgument"),
        ("AWS :x", "InvalidArgument"),
        (f"AWS {ACCESS_KEY}:", "InvalidArgument"),
        ("AWS AKIAUNKNOWN:eA==", "InvalidAccessKeyId"),
        (f"AWS {ACCESS_KEY}:eA==", "SignatureDoesNotMatch"),
        (f"AWS {ACCESS_KEY}:ü", "SignatureDoesNotMatch"),
    ],
)
def test_a_malformed_authorization(authorization: str, code: str) -> None:
    assert refused(changed(by_header(), authorization=authorization)) == code


def test_a_header_has_a_date_and_no_old_one() -> None:
    undated = by_header()
    del undated.headers["date"]
    assert refused(undated) == "AccessDenied"
    for off_s in (-SKEW_S_MAX - 1, SKEW_S_MAX + 1):
        assert refused(by_header(), NOW + off_s) == "RequestTimeTooSkewed"
    check(by_header(), NOW + SKEW_S_MAX)
    assert refused(changed(by_header(), date=formatdate(NOW + 1, usegmt=True))) == "SignatureDoesNotMatch"


def test_x_amz_date_stands_in_for_the_date() -> None:
    date = formatdate(NOW, usegmt=True)
    mark = signature(f"GET\n\n\n\nx-amz-date:{date}\n/b/k")
    headers = {"host": HOST, "x-amz-date": date, "date": "yesterday", "authorization": f"AWS {ACCESS_KEY}:{mark}"}
    check(request("GET", "/b/k", headers))
    assert refused(request("GET", "/b/k", headers | {"x-amz-date": "", "date": date})) == "AccessDenied"


def test_it_can_be_turned_off() -> None:
    for asked in (presigned(), by_header()):
        with pytest.raises(S3Error, match="InvalidRequest"):
            authenticate(asked, Keys(), NOW)


def test_chunks_cannot_be_signed_with_it() -> None:
    asked = presigned()
    check(asked)
    assert asked.signing is None
