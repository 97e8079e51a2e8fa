"""The one table of errors: every code that is raised is in it, and no failure tells of the inside."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanode.node import BlobUnavailable
from gateway import error_document
from gateway.errors import _TABLE, S3Error, as_s3_error
from gateway.open_reads import ReadEnded
from processors.reads import ReadUnavailable
from topics.log import LogCorrupt, LogError, RecordTooLarge

ROOT = Path(__file__).parents[2]
OF_NODES = ROOT / "processors" / "machine" / "membership.py"  # its rejections reach operators, never an S3 client
NAMED = {"S3Error": 0, "Rejected": 0, "Reply": 1, "absent": 0}  # calls that name a code, and where


def codes(source: str) -> Iterator[str]:
    """The codes that stand in the calls that name one."""
    for node in ast.walk(ast.parse(source)):
        name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and name in NAMED:
            at = NAMED[name]
            code = node.args[at] if at < len(node.args) else None
            for each in ast.walk(code) if code is not None else ():
                if isinstance(each, ast.Constant) and isinstance(each.value, str) and each.value:
                    yield each.value


def test_every_code_that_is_raised_is_in_the_table() -> None:
    paths = {path for folder in ("gateway", "processors", "bucketlog") for path in (ROOT / folder).rglob("*.py")}
    raised = {code for path in paths - {OF_NODES} for code in codes(path.read_text())}
    assert len(raised) > 30
    assert {"NoSuchBucket", "BucketNotEmpty", "ServiceUnavailable", "NoSuchTagSet"} <= raised  # of each kind of call one
    assert raised <= set(_TABLE)
    assert {"AuthorizationHeaderMalformed", "AuthorizationQueryParametersError"} <= set(_TABLE)  # named by a variable


def test_the_calls_that_name_a_code_are_found() -> None:
    source = """
S3Error("A", "x")
Rejected(
    "B" if other else "C"
)
Reply(request_id, "D", str(error))
Reply(request_id)
module.absent("E")
Other("Y")
"""
    assert sorted(codes(source)) == ["A", "B", "C", "D", "E"]


def test_the_table() -> None:
    for code, (status, message, of_request) in _TABLE.items():
        assert set(of_request) <= set(error_document._OF_REQUEST)
        assert code.isascii() and code.isalnum() and code[0].isupper()
        assert 400 <= status <= 503 or (code, status) == ("NotModified", 304)
        assert message


def test_an_error_has_its_own_message_or_the_usual() -> None:
    assert (S3Error("NoSuchKey").status, S3Error("NoSuchKey").message) == (404, "The specified key does not exist.")
    assert S3Error("NoSuchKey", "Not here.").message == "Not here."
    assert S3Error("NoSuchKey").headers == []
    assert S3Error("Unheard").status == 500


FAILURES: list[tuple[Exception, int, str]] = [
    (LogError("the log cannot be written: /var/data/log"), 503, "ServiceUnavailable"),
    (LogCorrupt("segment 7 of /var/data/log"), 503, "ServiceUnavailable"),
    (OSError(28, "No space left on device", "/var/data"), 503, "ServiceUnavailable"),
    (ConnectionResetError("10.0.0.7:9000 reset"), 503, "ServiceUnavailable"),
    (TimeoutError("10.0.0.7:9000 is silent"), 503, "ServiceUnavailable"),
    (PermissionError(13, "Permission denied", "/var/data"), 503, "ServiceUnavailable"),
    (ReadUnavailable("10.0.0.7:9000 does not answer"), 503, "ServiceUnavailable"),
    (RecordTooLarge("2000000 bytes for /var/data/log"), 400, "MaxMessageLengthExceeded"),
    (ReadEnded(), 503, "ServiceUnavailable"),
    (BlobUnavailable("blob 12 in volume 3 is damaged"), 500, "InternalError"),
    (KeyError("the secret"), 500, "InternalError"),
    (ValueError("/var/data: rebuild the view"), 500, "InternalError"),
    (AssertionError("volume 3"), 500, "InternalError"),
    (UnicodeDecodeError("utf-8", b"secret", 0, 1, "volume 3"), 500, "InternalError"),
]


@pytest.mark.parametrize(("error", "status", "code"), FAILURES, ids=lambda value: type(value).__name__)
def test_failures_tell_nothing_of_the_inside(error: Exception, status: int, code: str) -> None:
    told = as_s3_error(error)
    assert (told.status, told.code, told.headers) == (status, code, [])
    for inside in ("/var", "volume", "secret", "10.0.0.7", "rebuild"):
        assert inside not in told.message


def test_what_a_client_is_told_is_passed_on() -> None:
    error = S3Error("InvalidRange", "Mine.", [("a", "b")])
    assert as_s3_error(error) is error
