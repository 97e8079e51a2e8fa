"""The policy document of a form upload: until when, for which fields and for which sizes its signature is good.

Source: "POST Policy" of the S3 API. Every field of the form must satisfy all conditions that name it, and must be named
by one; only the policy, its signature, the file and x-ignore-* fields go without.
"""

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from gateway.errors import S3Error
from gateway.put import PUT_BYTES_MAX

_UNNAMED = ("policy", "file", "x-amz-signature", "signature", "awsaccesskeyid")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_SIZE = re.compile(r"[0-9]{1,15}")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_MORE_ESCAPES = {b"$": b"$", b"v": rb"\u000b"}  # that S3 knows and JSON does not


class Condition(NamedTuple):
    operator: str  # "eq" or "starts-with"
    field: str  # in lower case, as names are compared
    value: str

    def holds(self, fields: Mapping[str, str]) -> bool:
        given = fields.get(self.field)
        if given is None:
            return False
        if self.operator == "eq":
            return given == self.value
        # S3 reads a content type with commas as a list, each of which must match
        values = re.split(r",\s*", given) if self.field == "content-type" else [given]
        return all(each.startswith(self.value) for each in values)


class Policy(NamedTuple):
    expires_s: float  # Unix time
    conditions: list[Condition]
    size_min: int = 0  # bytes of the file
    size_max: int = PUT_BYTES_MAX

    def check(self, fields: Mapping[str, str], now_s: float) -> None:
        """Raises AccessDenied with the condition that does not hold. `fields` have lower-case names."""
        if self.expires_s < now_s:
            raise S3Error("AccessDenied", "Invalid according to Policy: Policy expired.")
        for each in self.conditions:
            if not each.holds(fields):
                shown = f'["{each.operator}", "${each.field}", "{each.value}"]'
                raise S3Error("AccessDenied", f"Invalid according to Policy: Policy Condition failed: {shown}")
        named = {each.field for each in self.conditions}.union(_UNNAMED)
        extra = [name for name in fields if name not in named and not name.startswith("x-ignore-")]
        if extra:
            raise S3Error("AccessDenied", f"Invalid according to Policy: Extra input fields: {', '.join(extra)}")


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    expiration: str
    conditions: list[dict[str, str | int] | list[str | int]]


def parse(encoded: str) -> Policy:
    """The policy of a form's `policy` field, base64 of JSON. Raises InvalidPolicyDocument."""
    try:
        text = base64.b64decode(encoded, validate=True)
        text = _ESCAPE.sub(lambda match: _MORE_ESCAPES.get(match[1], match[0]), text)
        document = msgspec.json.decode(text, type=_Document)
        if not _DATE.fullmatch(document.expiration):
            raise ValueError("the expiration is not a date of the form 2007-12-01T12:00:00.000Z")
        policy = Policy(datetime.fromisoformat(document.expiration).timestamp(), [])
        for each in document.conditions:
            policy = _with(policy, each)
    except (ValueError, OverflowError) as error:  # msgspec's errors are ValueErrors
        raise S3Error("InvalidPolicyDocument", f"Invalid Policy: {error}") from None
    return policy


def _with(policy: Policy, condition: dict[str, str | int] | list[str | int]) -> Policy:
    """Raises `ValueError` for what is no condition."""
    if isinstance(condition, dict):
        if len(condition) != 1:
            raise ValueError("a simple condition names exactly one field")
        ((field, value),) = condition.items()
        return policy._replace(conditions=[*policy.conditions, Condition("eq", field.lower(), str(value))])
    match condition:
        case [str(operator), low, high] if operator.lower() == "content-length-range":
            if not (_SIZE.fullmatch(str(low)) and _SIZE.fullmatch(str(high))):
                raise ValueError("the bounds of content-length-range are not sizes")
            size_min, size_max = max(policy.size_min, int(low)), min(policy.size_max, int(high))
            return policy._replace(size_min=size_min, size_max=size_max)
        case [str(operator), str(field), str(value)] if operator.lower() in ("eq", "starts-with") and field[:1] == "$":
            new = Condition(operator.lower(), field[1:].lower(), value)
            return policy._replace(conditions=[*policy.conditions, new])
    raise ValueError("a condition is not one of eq, starts-with and content-length-range")
