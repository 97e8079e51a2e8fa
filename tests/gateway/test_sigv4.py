"""Signatures, against those that botocore makes: by header, by presigned URL, and what is refused."""

import datetime
import hashlib
import hmac
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.authn import authenticate
from gateway.claim import SKEW_S_MAX
from gateway.errors import S3Error
from gateway.request import Request
from gateway.sigv4 import signing_key
from tests.gateway.requests import ACCESS_KEY, SECRET, Keys, receive_from, request

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


@pytest.fixture
def zone_far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "EST5")
        time.tzset()
        yield
    time.tzset()


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
    "/b?key-marker=2&key=1",  # sorted by name, not by name=value
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


def hand_signed(value: bytes, canonical: bytes) -> Request:
    """A request whose header x-amz-meta-a is `value`, signed as if its canonical form were `canonical`."""
    scope = "20270115/us-east-1/s3/aws4_request"
    names = "host;x-amz-content-sha256;x-amz-date;x-amz-meta-a"
    headers = b"host:h\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:20270115T080000Z\nx-amz-meta-a:" + canonical
    whole = b"PUT\n/b/k\n\n" + headers + f"\n\n{names}\nUNSIGNED-PAYLOAD".encode()
    text = f"AWS4-HMAC-SHA256\n20270115T080000Z\n{scope}\n{hashlib.sha256(whole).hexdigest()}"
    signature = hmac.new(signing_key(SECRET, scope), text.encode(), "sha256").hexdigest()
    sent = [
        (b"host", b"h"),
        (b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD"),
        (b"x-amz-date", b"20270115T080000Z"),
        (b"x-amz-meta-a", value),
        (
            b"authorization",
            f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope},SignedHeaders={names},Signature={signature}".encode(),
        ),
    ]
    asgi = {"method": "PUT", "path": "/b/k", "query_string": b"", "headers": sent}
    return Request(asgi, receive_from([])).parse(asgi, "")


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        (b"one  two", b"one two"),
        (b"one\ttwo", b"one\ttwo"),  # spaces only: Go's and Java's signers, and the S3 API's text
        (b"one\ttwo", b"one two"),  # all white space: botocore's and JavaScript's
        ("a\u00a0\u202fb".encode(), "a\u00a0\u202fb".encode()),
        ("a\u00a0\u202fb".encode(), b"a b"),
        ("a \u3000 b  c".encode(), "a \u3000 b c".encode()),
        ("a\u00a0".encode(), "a\u00a0".encode()),  # at its end it is of the value
        ("é".encode(), "é".encode()),
        (b"\xe9", "é".encode()),  # sent as Latin-1, signed as text
        (b"\xe9", b"\xe9"),
    ],
)
def test_each_kind_of_signers_canonical_header(value: bytes, canonical: bytes) -> None:
    asked = hand_signed(value, canonical)
    authenticate(asked, Keys(), NOW)
    assert asked.principal == "someone"


@pytest.mark.parametrize(("value", "canonical"), [(b"one two", b"onetwo"), (b"a", b"b"), (b"one two", b"one\ttwo")])
def test_what_no_signer_makes_of_a_header(value: bytes, canonical: bytes) -> None:
    assert refused(hand_signed(value, canonical)) == "SignatureDoesNotMatch"


HOISTED = "x-amz-meta-colour=red&X-Amz-Storage-Class=REDUCED_REDUNDANCY&x-amz-copy-source=b%2Fother&x-amz-acl=private"


def test_the_query_of_a_presigned_url_stands_for_headers() -> None:
    asked = presigned(f"{HOST}/b/k?{HOISTED}")
    authenticate(asked, Keys(), NOW)
    assert asked.headers == {
        "host": "127.0.0.1:9000",
        "x-amz-meta-colour": "red",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-copy-source": "b/other",
        "x-amz-acl": "private",
    }
    for name in ("x-amz-meta-colour", "X-Amz-Storage-Class"):
        other = presigned(f"{HOST}/b/k?{HOISTED}")
        other.query[name] = "other"
        assert refused(other) == "SignatureDoesNotMatch"


def test_a_payload_hash_in_the_query_is_in_the_canonical_request() -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    aws = AWSRequest("PUT", f"{HOST}/b/k?X-Amz-Content-Sha256={digest}", {})
    signer = S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET), "s3", "us-east-1", expires=60)
    signer.payload = lambda _: digest
    signer.add_auth(aws)
    asked = request("PUT", str(aws.url), {"host": "127.0.0.1:9000"})
    authenticate(asked, Keys(), NOW)
    assert asked.headers["x-amz-content-sha256"] == digest
    assert refused(presigned(f"{HOST}/b/k?X-Amz-Content-Sha256={digest}")) == "SignatureDoesNotMatch"


def test_only_a_presigned_query_stands_for_headers() -> None:
    asked = by_header(url=f"{HOST}/b/k?x-amz-meta-colour=red")
    authenticate(asked, Keys(), NOW)
    assert "x-amz-meta-colour" not in asked.headers
    assert "x-amz-date" not in presigned().headers  # what belongs to the signature is no header
    assert "content-type" not in presigned(f"{HOST}/b/k?content-type=a").headers  # nor what does not begin so


@pytest.mark.parametrize("field", ["x-amz-meta-a=%0D%0Ax-evil:%201", "x-amz-meta-%0a=1", "x-amz-meta-a=1&X-Amz-Meta-A=2"])
def test_what_cannot_stand_for_a_header_is_refused(field: str) -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        presigned(f"{HOST}/b/k?{field}")


def test_a_header_beside_its_name_in_the_query_must_be_signed_too() -> None:
    both = presigned(f"{HOST}/b/k?x-amz-meta-colour=red")
    aside = request("GET", f"/b/k?{HOISTED}&X-Amz-Signature=0", {"host": "h", "x-amz-meta-colour": "blue"})
    assert (aside.headers["x-amz-meta-colour"], "x-amz-meta-colour" in aside.hoisted) == ("blue", False)
    both.headers["x-amz-meta-colour"], both.hoisted = "blue", frozenset()
    assert refused(both) == "AccessDenied"


def test_a_request_has_one_signature() -> None:
    asked = by_header(url=f"{HOST}/b/k?X-Amz-Signature=0")
    assert refused(asked) == "InvalidArgument"
    assert refused(by_header(url=f"{HOST}/b/k?AWSAccessKeyId=a&Signature=b")) == "InvalidArgument"


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
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-MD5", "InvalidArgument"),
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
    assert refused(asked) == "AuthorizationQueryParametersError"


def test_a_presigned_url_covers_its_query() -> None:
    asked = presigned(f"{HOST}/b/k?response-content-type=text%2Fhtml")
    authenticate(asked, Keys(), NOW)
    asked = presigned(f"{HOST}/b/k?response-content-type=text%2Fhtml")
    asked.query["response-content-type"] = "text/plain"
    assert refused(asked) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("query", ["prefix=a&prefix=b", "prefix=b&prefix=a", "a=2&b=1&a=1&a=2", "a&a=&a=x"])
def test_a_name_twice_in_the_query_counts_once_and_is_signed_as_often_as_it_stands(query: str) -> None:
    asked = by_header(url=f"{HOST}/b?{query}")
    authenticate(asked, Keys(), NOW)
    name, _, value = query.split("&", maxsplit=1)[0].partition("=")
    assert asked.query[name] == value
    asked.repeated.pop()
    asked.principal = ""
    assert refused(asked) == "SignatureDoesNotMatch"


def test_a_value_that_was_added_to_a_signed_query_is_noticed() -> None:
    asked = by_header(url=f"{HOST}/b?prefix=a")
    asked.repeated.append(("prefix", "b"))
    assert refused(asked) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("signature", ["", "0" * 64, "ü" * 64, "A" * 64])
def test_a_presigned_url_with_another_signature(signature: str) -> None:
    asked = presigned()
    asked.query["X-Amz-Signature"] = signature
    assert refused(asked) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("date", "code"),
    [
        ("Fri, 15 Jan 2027 08:00:00 GMT", "SignatureDoesNotMatch"),  # heard: only the signature is another's
        ("Fri, 15 Jan 2027 09:00:00 GMT", "RequestTimeTooSkewed"),
        ("yesterday", "AccessDenied"),
        ("Fri, 31 Dec 9999 23:59:59 -1200", "AccessDenied"),
        ("Fri, 99999999999999999999 Jan 2027 08:00:00 GMT", "AccessDenied"),
    ],
)
def test_the_date_header_stands_in_for_x_amz_date(date: str, code: str) -> None:
    asked = changed(by_header(), date=date)
    del asked.headers["x-amz-date"]
    assert refused(asked) == code


DOCS_DATE, DOCS_NOW = "20130524T000000Z", 1_369_353_600
DOCS_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
DOCS_STREAM = {
    "host": "s3.amazonaws.com",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
    "content-encoding": "aws-chunked",
    "x-amz-decoded-content-length": "66560",
}


@pytest.mark.parametrize(
    ("method", "url", "payload", "headers", "signature"),
    [
        (
            "GET", "/test.txt", DOCS_EMPTY, {"range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT", "/test$file.text", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        ("GET", "/?lifecycle", DOCS_EMPTY, {}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "GET", "/?max-keys=2&prefix=J", DOCS_EMPTY, {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
        (
            "PUT", "/examplebucket/chunkObject.txt", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            {**DOCS_STREAM, "content-length": "66824"},
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        ),
        (
            "PUT", "/examplebucket/chunkObject.txt", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            {**DOCS_STREAM, "x-amz-trailer": "x-amz-checksum-crc32c"},
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        ),
    ],
)  # fmt: skip
def test_the_examples_of_the_s3_api(method: str, url: str, payload: str, headers: dict[str, str], signature: str) -> None:
    """Authenticating Requests: using the Authorization header; its signature is the only proof there is."""
    signed = {"host": "examplebucket.s3.amazonaws.com", "x-amz-content-sha256": payload, "x-amz-date": DOCS_DATE} | headers
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={';'.join(sorted(signed))},Signature={signature}"
    )
    authenticate(request(method, url, {"authorization": authorization, **signed}), Keys(), DOCS_NOW)


def test_the_presigned_url_of_the_s3_api() -> None:
    url = (
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        f"&X-Amz-Credential={ACCESS_KEY}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        f"&X-Amz-Date={DOCS_DATE}&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    authenticate(request("GET", url, {"host": "examplebucket.s3.amazonaws.com"}), Keys(), DOCS_NOW)


@given(path=st.text(max_size=30), value=st.text(max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_key_and_any_query(path: str, value: str) -> None:
    assume("\0" not in path + value)
    url = f"{HOST}/b/{quote(path, safe='/~')}?prefix={quote(value, safe='-_.~')}"
    for asked in (by_header(url=url), presigned(url)):
        authenticate(asked, Keys(), NOW)
        assert (asked.key, asked.query["prefix"]) == (path, value)


@pytest.mark.parametrize("name", ["host", "x-amz-content-sha256", "x-amz-date"])
def test_what_must_be_signed(name: str) -> None:
    asked = by_header()
    signed = [each for each in ("host", "x-amz-content-sha256", "x-amz-date") if each != name]
    old = "SignedHeaders=host;x-amz-content-sha256;x-amz-date"
    assert old in asked.headers["authorization"]
    asked.headers["authorization"] = asked.headers["authorization"].replace(old, f"SignedHeaders={';'.join(signed)}")
    assert refused(asked) == "AccessDenied"


def test_a_header_that_came_after_a_url_was_presigned() -> None:
    assert refused(changed(presigned(), x_amz_meta_added="1")) == "AccessDenied"
    authenticate(changed(presigned(), range="bytes=0-1"), Keys(), NOW)  # only x-amz-* must be signed


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (ACCESS_KEY, "AKIAUNKNOWN", "InvalidAccessKeyId"),
        ("/s3/", "/sqs/", "AuthorizationQueryParametersError"),
        ("/aws4_request", "", "AuthorizationQueryParametersError"),
        ("/20270115/", "/20270114/", "AuthorizationQueryParametersError"),
        ("us-east-1", "eu-west-1", "SignatureDoesNotMatch"),
    ],
)
def test_a_presigned_url_with_another_credential(old: str, new: str, code: str) -> None:
    asked = presigned()
    assert old in asked.query["X-Amz-Credential"]
    asked.query["X-Amz-Credential"] = asked.query["X-Amz-Credential"].replace(old, new)
    assert refused(asked) == code


@pytest.mark.parametrize("expires", ["", "x", "1.5", "+60", "60 ", "٣", "9" * 5000])
def test_a_presigned_url_whose_time_is_no_number(expires: str) -> None:
    asked = presigned()
    asked.query["X-Amz-Expires"] = expires
    assert refused(asked) == "AuthorizationQueryParametersError"


@pytest.mark.parametrize("date", ["Fri Jan 15 08:00:00 2027", "Fri, 15 Jan 2027 08:00:00 -0000"])
def test_a_date_that_names_no_zone_is_utc(zone_far_from_utc: None, date: str) -> None:
    """RFC 9110 §5.6.7: asctime has no zone. Had it been local time, the clock would be five hours off."""
    asked = changed(by_header(), date=date)
    del asked.headers["x-amz-date"]
    assert refused(asked) == "SignatureDoesNotMatch"


@given(st.text(max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_a_header_is_an_answer(text: str) -> None:
    dated = changed(by_header(), date=text)
    del dated.headers["x-amz-date"]
    authorized = changed(by_header(), authorization=f"AWS4-HMAC-SHA256 {text}")
    for asked in (dated, authorized):
        assert refused(asked) in ("AccessDenied", "AuthorizationHeaderMalformed")
