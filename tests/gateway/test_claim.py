"""What is amiss with a signature's form, part by part, in S3's words; and which details a refusal has."""

import re
from collections.abc import Callable

import pytest

from gateway import sigv4
from gateway.authn import authenticate
from gateway.claim import Claim
from gateway.errors import S3Error
from gateway.sigv4 import signing_key
from tests.gateway.requests import ACCESS_KEY, SECRET, Keys, request

NOW = 1_800_000_000  # 2027-01-15T08:00:00Z
DATE = "20270115T080000Z"
SCOPE = "20270115/us-east-1/s3/aws4_request"
NAMES = "host;x-amz-content-sha256;x-amz-date"
HEADERS = {"host": "h", "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": DATE}
MALFORMED = "The authorization header is malformed; "
PARSING = "Error parsing the X-Amz-Credential parameter; "
EXPECTING = 'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'


def refused(url: str = "/b/k", headers: dict[str, str] | None = None, method: str = "GET") -> S3Error:
    with pytest.raises(S3Error) as raised:
        authenticate(request(method, url, HEADERS | (headers or {})), Keys(), NOW, region="us-east-1")
    return raised.value


def header(
    credential: str = f"{ACCESS_KEY}/{SCOPE}",
    signed: str = NAMES,
    signature: str = "0" * 64,
    algorithm: str = "AWS4-HMAC-SHA256",
) -> dict[str, str]:
    return {"authorization": f"{algorithm} Credential={credential}, SignedHeaders={signed}, Signature={signature}"}


@pytest.mark.parametrize(
    ("credential", "why"),
    [
        ("a/b", EXPECTING),
        (f"{ACCESS_KEY}/20270115/us-east-1/s3", EXPECTING),
        (f"/{SCOPE}", "a non-empty Access Key (AKID) must be provided in the credential."),
        (
            f"{ACCESS_KEY}/2027-01-15/us-east-1/s3/aws4_request",
            'incorrect date format "2027-01-15". This date in the credential must be in the format "yyyyMMdd".',
        ),
        (
            f"{ACCESS_KEY}/20270114/us-east-1/s3/aws4_request",
            'Invalid credential date "20270114". This date is not the same as X-Amz-Date: "20270115".',
        ),
        (f"{ACCESS_KEY}/20270115/us-east-1/ec2/aws4_request", 'incorrect service "ec2". This endpoint belongs to "s3".'),
        (f"{ACCESS_KEY}/20270115/us-east-1/s3/aws3", 'incorrect terminal "aws3". This endpoint uses "aws4_request".'),
        (f"{ACCESS_KEY}/20270115/eu-west-1/s3/aws4_request", "the region 'eu-west-1' is wrong; expecting 'us-east-1'"),
        (f"{ACCESS_KEY}/20270115//s3/aws4_request", "the region '' is wrong; expecting 'us-east-1'"),
    ],
)
def test_the_part_of_a_credential_that_is_amiss_is_named(credential: str, why: str) -> None:
    found = refused(headers=header(credential))
    assert (found.code, found.status, found.message) == ("AuthorizationHeaderMalformed", 400, MALFORMED + why)
    assert found.details == ({"Region": "us-east-1"} if "region" in why else {})
    found = refused(presigned(**{"X-Amz-Credential": credential}), {})
    assert (found.code, found.status, found.message) == ("AuthorizationQueryParametersError", 400, PARSING + why)
    assert found.details == ({"Region": "us-east-1"} if "region" in why else {})


@pytest.mark.parametrize(
    ("authorization", "why"),
    [
        ("AWS4-HMAC-SHA256 nothing", "the authorization header requires three components: Credential, SignedHeaders, and"),
        ("AWS4-HMAC-SHA256 SignedHeaders=a,Signature=b", "missing Credential."),
        ("AWS4-HMAC-SHA256 Credential=a,Signature=b", "missing SignedHeaders."),
        ("AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b", "missing Signature."),
        ("AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b,Signature=", "missing Signature."),
        (
            "AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b,Signature=zz",
            'the authorization component "Signature" is malformed.',
        ),
        (f"AWS4-HMAC-SHA256 x=y,{header()['authorization'][17:]}", 'the authorization component "x" is malformed.'),
        (header(credential="a b")["authorization"], 'the authorization component "Credential" is malformed.'),
        (header(signed="a b")["authorization"], 'the authorization component "SignedHeaders" is malformed.'),
    ],
)
def test_the_part_of_the_header_that_is_amiss_is_named(authorization: str, why: str) -> None:
    found = refused(headers={"authorization": authorization})
    assert found.code == "AuthorizationHeaderMalformed"
    assert found.message.startswith(MALFORMED + why)


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        ("Basic dXNlcjpwYXNz", "Unsupported Authorization Type"),
        ("Bearer token", "Unsupported Authorization Type"),
        ("AWS4-HMAC-SHA512 Credential=a", "Unsupported Authorization Type"),
        ("nothing", "Authorization header is invalid -- one and only one ' ' (space) required"),
    ],
)
def test_another_kind_of_authorization(authorization: str, message: str) -> None:
    found = refused(headers={"authorization": authorization})
    assert (found.code, found.status, found.message) == ("InvalidArgument", 400, message)
    assert found.details == {"ArgumentName": "Authorization", "ArgumentValue": authorization}


def presigned(without: str = "", **changed: str) -> str:
    fields = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{ACCESS_KEY}/{SCOPE}",
        "X-Amz-Date": DATE,
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": "0" * 64,
    } | changed
    return "/b/k?" + "&".join(f"{name}={value}" for name, value in fields.items() if name != without)


REQUIRES = (
    "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, "
    "X-Amz-SignedHeaders, and X-Amz-Expires parameters."
)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        *((presigned(without=name), REQUIRES) for name in ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature")),
        *((presigned(without=name), REQUIRES) for name in ("X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires")),
        (presigned(**{"X-Amz-Algorithm": "AWS"}), 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"'),
        (presigned(**{"X-Amz-Date": "now"}), "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""),
        (presigned(**{"X-Amz-Expires": "soon"}), "X-Amz-Expires should be a number"),
        (presigned(**{"X-Amz-Expires": "-1"}), "X-Amz-Expires must be non-negative"),
        (
            presigned(**{"X-Amz-Expires": "604801"}),
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            "604800 seconds",
        ),
    ],
)
def test_what_is_amiss_with_a_presigned_url_is_said(url: str, message: str) -> None:
    with pytest.raises(S3Error) as raised:
        authenticate(request("GET", url, {"host": "h"}), Keys(), NOW)
    assert (raised.value.code, raised.value.message) == ("AuthorizationQueryParametersError", message)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("given", ["x", "0" * 63, "A" * 64, "STREAMING-ELSE", "unsigned-payload"])
def test_a_payload_hash_that_is_none_is_refused_with_any_method(method: str, given: str) -> None:
    found = refused(headers=header() | {"x-amz-content-sha256": given}, method=method)
    assert (found.code, found.details["ArgumentName"]) == ("InvalidArgument", "x-amz-content-sha256")
    assert found.details["ArgumentValue"] == given


def signed(region: str = "us-east-1", **more: str) -> dict[str, str]:
    headers, scope = HEADERS | more, SCOPE.replace("us-east-1", region)
    claim = Claim(ACCESS_KEY, scope, sorted(headers), "", DATE)
    canonical = sigv4.canonical_request(request("GET", "/b/k", headers), claim.signed, "UNSIGNED-PAYLOAD").encode()
    signature = sigv4.sign(signing_key(SECRET, scope), claim, canonical)
    return headers | header(f"{ACCESS_KEY}/{scope}", ";".join(claim.signed), signature)


def test_a_token_that_nobody_gave_is_refused() -> None:
    asked = request("GET", "/b/k", signed())
    authenticate(asked, Keys(), NOW, region="us-east-1")
    assert asked.principal == "someone"
    found = refused(headers=signed(**{"x-amz-security-token": "bogus"}))
    assert (found.code, found.status) == ("InvalidToken", 400)


def test_a_signature_that_does_not_match_tells_what_was_compared() -> None:
    found = refused(headers=header())
    assert found.code == "SignatureDoesNotMatch"
    canonical = (
        f"GET\n/b/k\n\nhost:h\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{DATE}\n\n{NAMES}\nUNSIGNED-PAYLOAD"
    )
    assert (found.details["AWSAccessKeyId"], found.details["SignatureProvided"]) == (ACCESS_KEY, "0" * 64)
    assert found.details["CanonicalRequest"] == canonical
    assert bytes.fromhex(found.details["CanonicalRequestBytes"]).decode() == canonical
    assert found.details["StringToSign"].startswith(f"AWS4-HMAC-SHA256\n{DATE}\n{SCOPE}\n")
    assert bytes.fromhex(found.details["StringToSignBytes"]).decode() == found.details["StringToSign"]
    ours = re.search("[0-9a-f]{64}", signed()["authorization"])
    assert ours is not None
    assert ours[0] not in str(found.details)  # the right signature is nobody's to know
    assert refused(headers=header(f"nobody/{SCOPE}")).details == {"AWSAccessKeyId": "nobody"}


def test_what_is_late_or_early_tells_the_times() -> None:
    found = refused(headers=header() | {"x-amz-date": "20270115T070000Z"})
    assert (found.code, found.details) == (
        "RequestTimeTooSkewed",
        {"RequestTime": "20270115T070000Z", "ServerTime": "2027-01-15T08:00:00Z", "MaxAllowedSkewMilliseconds": 900_000},
    )
    with pytest.raises(S3Error) as raised:
        authenticate(request("GET", presigned(**{"X-Amz-Date": "20270115T070000Z"}), {"host": "h"}), Keys(), NOW)
    assert raised.value.message == "Request has expired"
    assert raised.value.details == {
        "X-Amz-Expires": "60",
        "Expires": "2027-01-15T07:01:00Z",
        "ServerTime": "2027-01-15T08:00:00Z",
    }


def test_headers_that_are_not_signed_are_named() -> None:
    found = refused(headers=header() | {"x-amz-meta-a": "1", "x-amz-acl": "private"})
    assert (found.message, found.details) == (
        "There were headers present in the request which were not signed",
        {"HeadersNotSigned": "x-amz-meta-a, x-amz-acl"},
    )


def test_clients_choose_no_key_that_is_kept() -> None:
    """Neither by a region nor by a date: what is kept is for ours, and for days on which a signature can be good."""
    sigv4._kept_key.cache_clear()
    attempts: list[Callable[[], object]] = [
        *(lambda n=n: refused(headers=header(f"{ACCESS_KEY}/20270115/r{n}/s3/aws4_request")) for n in range(50)),
        *(lambda n=n: refused(headers=header(f"{ACCESS_KEY}/{20260000 + n}/us-east-1/s3/aws4_request")) for n in range(50)),
    ]
    for attempt in attempts:
        attempt()
    for number in range(50):  # where any region will do, below /-/
        asked = request("GET", "/b/k", signed(f"r{number}"))
        authenticate(asked, Keys(), NOW)
    assert sigv4._kept_key.cache_info().currsize == 0
    authenticate(request("GET", "/b/k", signed()), Keys(), NOW, region="us-east-1")
    assert sigv4._kept_key.cache_info().currsize == 1
