"""What a request says of its own signature of version 4: who signed what, when and for where. Nothing is verified yet.

Source: "Authenticating Requests (AWS Signature Version 4)" of the S3 API. Each part that is amiss is named in S3's words.
"""

import calendar
import functools
import re
import time
from datetime import UTC, datetime
from typing import NamedTuple

from gateway.errors import S3Error, invalid_argument
from gateway.request import Request, http_date

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_S_MAX = 15 * 60
EXPIRES_S_MAX = 7 * 24 * 3600
_DATES_KEPT = _SCOPES_KEPT = 64  # parsed: clients that send many requests name the same second in all of them
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_DAY = re.compile(r"[0-9]{8}")
_HEADER = re.compile(r"Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})")
_PARTS = ("Credential", "SignedHeaders", "Signature")
_QUERY = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires")


class Claim(NamedTuple):
    access_key: str
    scope: str  # date/region/service/aws4_request
    signed: list[str]
    signature: str
    date: str


class Wrong(NamedTuple):
    """How a credential that is amiss is refused."""

    code: str
    prefix: str


_IN_HEADER = Wrong("AuthorizationHeaderMalformed", "The authorization header is malformed; ")
_IN_QUERY = Wrong("AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter; ")
IN_FORM = Wrong("InvalidArgument", "Error parsing the x-amz-credential field; ")


def from_header(request: Request, now_s: float, region: str | None) -> Claim:
    """Of the header Authorization. `region`: as in `scope_of`."""
    header = request.headers["authorization"]
    algorithm, _, rest = header.partition(" ")
    if algorithm != ALGORITHM:
        message = "Unsupported Authorization Type"
        if not rest:
            message = "Authorization header is invalid -- one and only one ' ' (space) required"
        raise invalid_argument("Authorization", header, message)
    match = _HEADER.fullmatch(rest.strip())
    if match is None:
        raise _malformed(rest)
    date = request.headers.get("x-amz-date") or _from_http_date(request.headers.get("date", ""))
    if not _DATE.fullmatch(date):
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    off_s = abs(_seconds(date) - now_s)
    access_key, scope = _kept_scope(match[1], date[:8], _IN_HEADER, region)
    if off_s > SKEW_S_MAX:
        raise S3Error(
            "RequestTimeTooSkewed",
            RequestTime=date,
            ServerTime=_iso(now_s),
            MaxAllowedSkewMilliseconds=SKEW_S_MAX * 1000,
        )
    return Claim(access_key, scope, match[2].split(";"), match[3], date)


def from_query(request: Request, now_s: float, region: str | None) -> Claim:
    """Of a presigned URL."""
    query, wrong = request.query, "AuthorizationQueryParametersError"
    if not all(name in query for name in _QUERY):
        raise S3Error(wrong)
    if query["X-Amz-Algorithm"] != ALGORITHM:
        raise S3Error(wrong, f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    date, expires = query["X-Amz-Date"], query["X-Amz-Expires"]
    if not _DATE.fullmatch(date):
        raise S3Error(wrong, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if not re.fullmatch(r"-?[0-9]{1,18}", expires):
        raise S3Error(wrong, "X-Amz-Expires should be a number")
    if int(expires) < 1:
        raise S3Error(wrong, "X-Amz-Expires must be non-negative" if int(expires) else "X-Amz-Expires must be at least 1")
    if int(expires) > EXPIRES_S_MAX:
        raise S3Error(
            wrong,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            f"{EXPIRES_S_MAX} seconds",
        )
    from_s = _seconds(date)
    access_key, scope = _kept_scope(query["X-Amz-Credential"], date[:8], _IN_QUERY, region)
    until_s = from_s + int(expires)
    if from_s - now_s > SKEW_S_MAX:
        raise S3Error("AccessDenied", "Request is not yet valid", (), ServerTime=_iso(now_s))
    if until_s < now_s:
        details = {"X-Amz-Expires": expires, "Expires": _iso(until_s), "ServerTime": _iso(now_s)}
        raise S3Error("AccessDenied", "Request has expired", (), **details)
    return Claim(access_key, scope, query["X-Amz-SignedHeaders"].split(";"), query["X-Amz-Signature"], date)


def scope_of(credential: str, day: str, wrong: Wrong, region: str | None) -> tuple[str, str]:
    """(access key, date/region/service/aws4_request). `day`: the one that it must be of, YYYYMMDD.

    `region`: the one that it must be for; None where any will do.

    Raises the S3 error that `wrong` names, with what is amiss.
    """
    access_key, *scope = credential.rsplit("/", 4)
    if len(scope) == 4 and access_key and scope[0] == day and scope[2:] == ["s3", "aws4_request"]:
        if region is None or scope[1] == region:
            return access_key, "/".join(scope)
        message = f"{wrong.prefix}the region '{scope[1]}' is wrong; expecting '{region}'"
        raise S3Error(wrong.code, message, (), Region=region)
    raise S3Error(wrong.code, wrong.prefix + _amiss(access_key, scope, day))


# Who sends many requests names the same in all of them.
_kept_scope = functools.lru_cache(_SCOPES_KEPT)(scope_of)


def _amiss(access_key: str, scope: list[str], today: str) -> str:
    if len(scope) < 4:
        return 'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
    day, _, service, terminal = scope
    if not access_key:
        return "a non-empty Access Key (AKID) must be provided in the credential."
    if not _DAY.fullmatch(day):
        return f'incorrect date format "{day}". This date in the credential must be in the format "yyyyMMdd".'
    if terminal != "aws4_request":
        return f'incorrect terminal "{terminal}". This endpoint uses "aws4_request".'
    if service != "s3":
        return f'incorrect service "{service}". This endpoint belongs to "s3".'
    return f'Invalid credential date "{day}". This date is not the same as X-Amz-Date: "{today}".'


def _malformed(rest: str) -> S3Error:
    """What of the header's three parts is amiss."""
    found = dict(each.strip().partition("=")[::2] for each in rest.split(","))
    missing = [name for name in _PARTS if not found.get(name)]
    if len(missing) == len(_PARTS):
        why = "the authorization header requires three components: Credential, SignedHeaders, and Signature."
    elif missing:
        why = f"missing {missing[0]}."
    elif len(found) > len(_PARTS):
        why = f'the authorization component "{next(name for name in found if name not in _PARTS)}" is malformed.'
    else:
        # the parts in another order, or one of them that holds what it cannot
        why = f'the authorization component "{_odd(found)}" is malformed.'
    return S3Error(_IN_HEADER.code, _IN_HEADER.prefix + why)


def _odd(found: dict[str, str]) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", found["Signature"]):
        return "Signature"
    return "Credential" if re.search(r"\s", found["Credential"]) else "SignedHeaders"


def _from_http_date(text: str) -> str:
    """The Date header in the form that signatures use; empty where it is no date."""
    date = http_date(text)
    return f"{date:%Y%m%dT%H%M%SZ}" if date else ""


def _iso(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


@functools.lru_cache(_DATES_KEPT)
def _seconds(date: str) -> float:
    try:
        return calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise S3Error("AccessDenied", "The date is not valid.") from None
