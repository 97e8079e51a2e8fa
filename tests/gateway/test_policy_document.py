"""Policy documents of forms: what they allow, what they refuse, and what is none."""

import base64
import json
from typing import Any

import pytest

from gateway.errors import S3Error
from gateway.policy_document import Policy, parse

NOW_S = 1_700_000_000.0  # 2023-11-14T22:13:20Z
LATER = "2023-11-14T22:13:21Z"
BUCKET = {"bucket": "b"}


def encoded(document: Any) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def policy(*conditions: Any, expiration: str = LATER) -> Policy:
    return parse(encoded({"expiration": expiration, "conditions": [BUCKET, *conditions]}))


def refusal(given: Policy, fields: dict[str, str]) -> str:
    """Why the policy refuses the form; empty where it does not."""
    try:
        given.check({"bucket": "b", **fields}, NOW_S)
    except S3Error as error:
        assert error.code == "AccessDenied"
        return error.message
    return ""


@pytest.mark.parametrize(
    ("condition", "field", "allowed", "refused"),
    [
        ({"acl": "private"}, "acl", ["private"], ["", "Private", "private "]),
        (["eq", "$key", "a/b"], "key", ["a/b"], ["a/", "a/b/c", "A/B"]),
        (["starts-with", "$key", "a/"], "key", ["a/", "a/b"], ["", "a", "A/b", "/a/"]),
        (["starts-with", "$key", ""], "key", ["", "anything"], []),
        (["StArTs-WiTh", "$KeY", "a"], "key", ["ab"], ["b"]),
        (["EQ", "$Key", "a"], "key", ["a"], ["ab"]),
        ({"success_action_status": 201}, "success_action_status", ["201"], ["200"]),
        (
            ["starts-with", "$Content-Type", "image/"],
            "content-type",
            ["image/png", "image/png,image/gif", "image/png, image/gif"],
            ["text/html", "image/png,text/html", "image/png,", ""],
        ),
        (["eq", "$content-type", "a/b,c/d"], "content-type", ["a/b,c/d"], ["a/b", "c/d,a/b"]),
    ],
)
def test_conditions(condition: Any, field: str, allowed: list[str], refused: list[str]) -> None:
    given = policy(condition)
    for value in allowed:
        assert refusal(given, {field: value}) == ""
    for value in refused:
        assert "Policy Condition failed" in refusal(given, {field: value})
    assert "Policy Condition failed" in refusal(given, {})


def test_every_condition_on_a_field_must_hold() -> None:
    given = policy(["starts-with", "$key", "a"], ["eq", "$key", "ab"])
    assert refusal(given, {"key": "ab"}) == ""
    assert refusal(given, {"key": "ac"}).endswith('Policy Condition failed: ["eq", "$key", "ab"]')


@pytest.mark.parametrize("name", ["key", "acl", "content-type", "x-amz-meta-a", "x-amz-credential", "content-md5", ""])
def test_a_field_that_no_condition_names_is_refused(name: str) -> None:
    assert refusal(policy(), {name: "x"}).endswith(f"Extra input fields: {name}")


@pytest.mark.parametrize("name", ["policy", "x-amz-signature", "signature", "awsaccesskeyid", "x-ignore-", "x-ignore-me"])
def test_some_fields_need_no_condition(name: str) -> None:
    assert refusal(policy(), {name: "x"}) == ""


def test_the_bucket_needs_its_condition() -> None:
    given = parse(encoded({"expiration": LATER, "conditions": []}))
    assert refusal(given, {}).endswith("Extra input fields: bucket")
    assert "Policy Condition failed" in refusal(policy(), {"bucket": "other"})


@pytest.mark.parametrize(
    ("expiration", "is_good"),
    [
        ("2023-11-14T22:13:21Z", True),
        ("2023-11-14T22:13:20.001Z", True),
        ("2023-11-14T22:13:20Z", True),
        ("2023-11-14T22:13:19.999Z", False),
        ("1970-01-01T00:00:00Z", False),
    ],
)
def test_expiration(expiration: str, is_good: bool) -> None:
    assert (refusal(policy(expiration=expiration), {}) == "") is is_good


def test_sizes_that_are_named_twice_must_both_hold() -> None:
    given = policy(["content-length-range", 2, 9], ["Content-Length-Range", "0", "5"])
    assert (given.size_min, given.size_max) == (2, 5)
    assert (policy().size_min, policy().size_max) == (0, 5 << 30)


@pytest.mark.parametrize(
    ("written", "meant"),
    [(r"\$a", "$a"), (r"\\$a", r"\$a"), (r"\v", "\v"), (r"\u00e9", "é"), (r"\\v", r"\v"), (r"\/", "/")],
)
def test_escapes(written: str, meant: str) -> None:
    text = f'{{"expiration": "{LATER}", "conditions": [{{"bucket": "b"}}, {{"key": "{written}"}}]}}'
    given = parse(base64.b64encode(text.encode()).decode())
    assert refusal(given, {"key": meant}) == ""


NO_CONDITIONS: list[Any] = [
    {},
    {"a": "b", "c": "d"},
    {"a": ["b"]},
    {"a": True},
    [],
    ["eq", "$key"],
    ["eq", "key", "a"],
    ["eq", "$key", "a", "b"],
    ["eq", "$key", 1],
    ["like", "$key", "a"],
    ["content-length-range", 0],
    ["content-length-range", -1, 0],
    ["content-length-range", 0, 1.5],
    ["content-length-range", 0, 10**16],
    ["content-length-range", "a", "b"],
    "eq",
    None,
]
NO_POLICIES: list[Any] = [
    None,
    [],
    {"expiration": LATER},
    {"conditions": []},
    {"Expiration": LATER, "conditions": []},
    {"expiration": LATER, "CONDITIONS": []},
    {"expiration": LATER, "conditions": {}},
    {"expiration": LATER, "conditions": [], "more": 1},
    *({"expiration": LATER, "conditions": [each]} for each in NO_CONDITIONS),
    *(
        {"expiration": each, "conditions": []}
        for each in [
            "",
            "soon",
            1,
            "2023-11-14",
            "2023-11-14T22:13:21",
            "2023-13-14T22:13:21Z",
            "2023-11-14 22:13:21+00:00",
        ]
    ),
]


@pytest.mark.parametrize("document", NO_POLICIES, ids=json.dumps)
def test_what_is_no_policy(document: Any) -> None:
    with pytest.raises(S3Error) as raised:
        parse(encoded(document))
    assert raised.value.code == "InvalidPolicyDocument"


@pytest.mark.parametrize("text", ["", "e30", "!", "é", base64.b64encode(b"\xff").decode(), "W1tb" * 5000, "e30=\n"])
def test_what_is_no_document_at_all(text: str) -> None:
    with pytest.raises(S3Error) as raised:
        parse(text)
    assert raised.value.code == "InvalidPolicyDocument"
