"""What a running store refuses, and what a client that breaks off leaves behind."""

import http.client
import os
import re
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.server import Server

RSS_KB_MAX = 300 << 10


def send(server: Server, method: str, url: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    """(status, S3 error code) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    target = urlsplit(url)
    try:
        connection.request(method, f"{target.path}?{target.query}", body, headers)
        answer = connection.getresponse()
        found = re.search(rb"<Code>(\w+)</Code>", answer.read())
    finally:
        connection.close()
    return answer.status, found[1].decode() if found else ""


def announce(server: Server, method: str, url: str, length: int) -> tuple[int, str]:
    """(status, S3 error code) of a request whose body is never sent."""
    return send(server, method, url, b"", **{"content-length": str(length)})


def presigned(s3: Any, operation: str, **params: Any) -> str:
    return str(s3.generate_presigned_url(operation, Params=params))


def test_documents_have_a_bound(server: Server, s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    url = presigned(s3, "complete_multipart_upload", Bucket=bucket, Key="k", UploadId=upload)
    assert announce(server, "POST", url, (2 << 20) + 1) == (400, "MaxMessageLengthExceeded")
    parts = b"<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>" * 10_001
    whole = b"<CompleteMultipartUpload>" + parts + b"</CompleteMultipartUpload>"
    assert send(server, "POST", url, whole) == (400, "InvalidArgument")
    assert send(server, "POST", url, b"<CompleteMultipartUpload/>") == (400, "MalformedXML")


def test_what_the_log_cannot_hold_is_the_clients_mistake(server: Server, s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    url = presigned(s3, "complete_multipart_upload", Bucket=bucket, Key="k", UploadId=upload)
    part = b"<Part><PartNumber>1</PartNumber><ETag>" + b"x" * (3 << 19) + b"</ETag></Part>"
    whole = b"<CompleteMultipartUpload>" + part + b"</CompleteMultipartUpload>"
    assert send(server, "POST", url, whole) == (400, "MaxMessageLengthExceeded")


@pytest.mark.parametrize("number", [0, 10_001, 99_999_999])
def test_part_numbers_have_their_bounds(server: Server, s3: Any, bucket: str, number: int) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    url = presigned(s3, "upload_part", Bucket=bucket, Key="k", UploadId=upload, PartNumber=number)
    assert send(server, "PUT", url, b"x") == (400, "InvalidArgument")


def test_headers_have_a_bound(server: Server, s3: Any, bucket: str) -> None:
    url = presigned(s3, "put_object", Bucket=bucket, Key="k")
    assert send(server, "PUT", url, b"x", padding="x" * (17 << 10)) == (400, "RequestHeaderSectionTooLarge")


def test_an_object_over_5_gib_is_refused_before_its_body(server: Server, s3: Any, bucket: str) -> None:
    url = presigned(s3, "put_object", Bucket=bucket, Key="k")
    assert announce(server, "PUT", url, (5 << 30) + 1) == (400, "EntityTooLarge")


@pytest.mark.parametrize(("operation", "key"), [("put_object", {"Key": "k"}), ("create_bucket", {})])
def test_a_body_without_a_length_is_refused(
    server: Server, s3: Any, bucket: str, operation: str, key: dict[str, str]
) -> None:
    url = presigned(s3, operation, Bucket=bucket, **key)
    assert send(server, "PUT", url, b"", **{"transfer-encoding": "chunked"}) == (411, "MissingContentLength")


def break_off(server: Server, url: str, announced: int, sent: int) -> None:
    """Waits until the request was let in: a refused one would leave nothing behind either."""
    with socket.create_connection(("127.0.0.1", server.port)) as broken:
        target, host = url.removeprefix(server.endpoint), f"127.0.0.1:{server.port}"
        head = f"PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {announced}\r\nExpect: 100-continue\r\n\r\n"
        broken.sendall(head.encode())
        assert broken.recv(100).startswith(b"HTTP/1.1 100 ")
        broken.sendall(os.urandom(sent))


def allocated(server: Server) -> int:
    return sum(path.stat().st_blocks * 512 for path in (server.data / "volumes").glob("*.vol"))


def test_a_client_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    s3 = server.client()
    s3.create_bucket(Bucket="broken")
    s3.put_object(Bucket="broken", Key="k", Body=b"first")
    url = presigned(s3, "put_object", Bucket="broken", Key="k")
    s3.put_object(Bucket="broken", Key="filler", Body=bytes(200_000))
    before = allocated(server)
    for announced, sent in ((1000, 10), (8 << 20, 0), (8 << 20, 5 << 20), (100 << 20, 70 << 20)):
        break_off(server, url, announced, sent)
    deadline = time.monotonic() + 10
    while allocated(server) > before + (1 << 20) and time.monotonic() < deadline:
        s3.head_object(Bucket="broken", Key="k")
    assert allocated(server) <= before + (1 << 20)
    assert s3.get_object(Bucket="broken", Key="k")["Body"].read() == b"first"
    assert {row["Key"] for row in s3.list_objects_v2(Bucket="broken")["Contents"]} == {"k", "filler"}
    assert server.stop() == 0


def test_a_large_object_needs_no_memory(tmp_path: Path) -> None:
    """1 GiB up and down; anything that kept a body would show."""
    server = Server(tmp_path / "data").start()
    s3 = server.client()
    s3.create_bucket(Bucket="large")
    piece, pieces = os.urandom(1 << 20), 1024
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.putrequest("PUT", presigned(s3, "put_object", Bucket="large", Key="k").removeprefix(server.endpoint))
    connection.putheader("content-length", str(pieces << 20))
    connection.endheaders()
    for _ in range(pieces):
        connection.send(piece)
    assert connection.getresponse().status == 200
    connection.close()
    body = s3.get_object(Bucket="large", Key="k")["Body"]
    for _ in range(pieces):
        assert body.read(1 << 20) == piece
    assert body.read() == b""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None
    assert int(peak[1]) < RSS_KB_MAX
    assert server.stop() == 0
