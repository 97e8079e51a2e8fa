"""Routes: every operation of S3's model is found by what its clients send, and nothing is passed over."""

import pytest

from gateway import configurations
from gateway.errors import S3Error
from gateway.model import Route, refresh, routes_of_s3
from gateway.operations import OPERATIONS
from gateway.router import route
from tests.gateway.requests import request

TWINS = {  # asked for in the same way: the older names, and another kind of bucket
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
    "ListDirectoryBuckets": "ListBuckets",
}
ROUTES = [each for each in routes_of_s3() if each.name != "WriteGetObjectResponse"]  # which is asked of another host
SUBRESOURCES = sorted(
    {name.partition("=")[0] for each in ROUTES for name in each.uri.partition("?")[2].split("&") if name}
    | {"uploadId", "partNumber"}
)


def test_the_model_is_that_of_the_installed_botocore() -> None:
    assert refresh.TARGET.read_text() == refresh.text(), "run: .venv/bin/python -m gateway.model.refresh"


def operation(method: str, url: str, headers: dict[str, str] | None = None) -> str:
    return route(request(method, url, headers)).name


def refused(method: str, url: str) -> str:
    with pytest.raises(S3Error) as raised:
        route(request(method, url))
    return raised.value.code


@pytest.mark.parametrize("wanted", ROUTES, ids=lambda each: each.name)
def test_every_operation_of_the_model_is_found(wanted: Route) -> None:
    path, _, query = wanted.uri.replace("{Bucket}", "b").replace("{Key+}", "k").partition("?")
    required = "&".join([query, *(f"{name}=1" for name, is_required in wanted.query.items() if is_required)])
    everything = "&".join([query, *(f"{name}=1" for name in wanted.query)])
    for asked in (required, everything):
        found = operation(wanted.method, f"{path}?{asked}", dict.fromkeys(wanted.headers, "b/source"))
        assert TWINS.get(found, found) == TWINS.get(wanted.name, wanted.name)


def test_every_row_is_an_operation_of_the_model() -> None:
    names = [each.name for each in OPERATIONS]
    assert len(names) == len(set(names))
    assert set(names) - {each.name for each in ROUTES} == {"PostObject", "Preflight"}


@pytest.mark.parametrize("name", SUBRESOURCES)
def test_a_sub_resource_is_never_passed_over(name: str) -> None:
    """Neither on a bucket nor on an object, with whatever method: the plain operation would destroy what is there."""
    plain = {"PutObject", "DeleteObject", "CreateBucket", "DeleteBucket", "ListObjects", "PostObject", "HeadBucket"}
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        for path in ("/b", "/b/k"):
            for query in (name, f"{name}=", f"{name}=1", f"a=1&{name}&b=2"):
                try:
                    found = route(request(method, f"{path}?{query}"))
                except S3Error as error:
                    assert (name, error.code) == ("list-type", "InvalidArgument")
                    continue
                assert found.name not in plain
                assert name == "partNumber" or found.name not in ("GetObject", "HeadObject")
                if found.name == "":
                    assert found.handler is configurations.not_implemented


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "/b?acl&policy"),
        ("GET", "/b?cors&encryption"),
        ("DELETE", "/b?policy&website"),
        ("GET", "/b?versions&list-type=2"),
        ("GET", "/b?uploads&versions"),
        ("POST", "/b/k?uploads&uploadId=u"),
        ("PUT", "/b/k?acl&tagging"),
        ("PUT", "/b/k?uploadId=u&partNumber=1&acl"),
        ("DELETE", "/b/k?uploadId=u&tagging"),
        ("GET", "/b/k?partNumber=1&acl"),
        ("DELETE", "/b?encryption&annotation"),
    ],
)
def test_two_sub_resources_exclude_each_other(method: str, url: str) -> None:
    assert refused(method, url) == "InvalidArgument"
    name, _, query = url.partition("?")
    assert refused(method, f"{name}?{'&'.join(reversed(query.split('&')))}") == "InvalidArgument"


def test_what_belongs_together_is_no_conflict() -> None:
    assert operation("GET", "/b/k?partNumber=1&versionId=null") == "GetObject"
    assert operation("PUT", "/b/k?partNumber=1&uploadId=u") == "UploadPart"
    assert operation("POST", "/b/k?select&select-type=2") == "SelectObjectContent"
    assert operation("GET", "/b?list-type=2&prefix=a&x-id=ListObjectsV2") == "ListObjectsV2"


def test_the_parameters_of_an_operation_choose_among_its_like() -> None:
    assert operation("GET", "/b?analytics&id=a") == "GetBucketAnalyticsConfiguration"
    assert operation("GET", "/b?analytics") == "ListBucketAnalyticsConfigurations"
    assert operation("PUT", "/b/k", {"x-amz-copy-source": "b/other"}) == "CopyObject"
    assert operation("PUT", "/b/k", {"x-amz-copy-source": ""}) == "CopyObject"
    assert operation("PUT", "/b/k?uploadId=u&partNumber=1", {"x-amz-copy-source": "b/other"}) == "UploadPartCopy"
    assert operation("PUT", "/b/k?uploadId=u") == "UploadPart"  # which says what it lacks


def test_what_nobody_can_ask_for() -> None:
    assert {refused(method, "/b/k") for method in ("PATCH", "POST")} == {"MethodNotAllowed"}
    assert {refused(method, "/") for method in ("PUT", "POST", "DELETE", "HEAD", "OPTIONS")} == {"MethodNotAllowed"}
    assert refused("PATCH", "/b/k?acl") == "MethodNotAllowed"
    assert refused("GET", "/?acl") == "NotImplemented"
    assert refused("GET", "/b?list-type=1") == refused("GET", "/b?list-type") == "InvalidArgument"


@pytest.mark.parametrize(
    ("method", "url", "allowed"),
    [
        ("POST", "/", "GET"),
        ("PATCH", "/b", "DELETE, GET, HEAD, POST, PUT"),
        ("POST", "/b/k", "DELETE, GET, HEAD, PUT"),
        ("PATCH", "/b?acl", "GET, PUT"),
    ],
)
def test_who_may_not_is_told_what_may_be_asked(method: str, url: str, allowed: str) -> None:
    with pytest.raises(S3Error) as raised:
        route(request(method, url))
    assert (raised.value.status, raised.value.headers) == (405, [("allow", allowed)])


@pytest.mark.parametrize("url", ["/b", "/b/k", "/b?acl", "/b/k?uploadId=u&partNumber=1", "/b?cors&policy"])
def test_browsers_may_ask_about_everything(url: str) -> None:
    assert operation("OPTIONS", url) == "Preflight"


def test_other_parameters_change_nothing() -> None:
    assert operation("PUT", "/b/k?x-id=PutObject&colour=red") == "PutObject"
    assert operation("GET", "/b?prefix=acl&ACL") == "ListObjects"
