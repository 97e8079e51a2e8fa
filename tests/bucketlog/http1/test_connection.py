"""What a connection may send before a request's head is whole."""

import socket
import time
from email.utils import parsedate_to_datetime

from bucketlog.http1.connection import HEAD_BYTES_MAX
from tests.server import Server


def connect(server: Server) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
    return connection


def test_a_head_that_never_ends_is_refused(server: Server) -> None:
    for filler in (b"a: " + b"b" * 1000 + b"\r\n", b"c" * 1000):  # many headers; one that has no end
        with connect(server) as connection:
            sent = 0
            try:
                while sent < 1000 * HEAD_BYTES_MAX:
                    connection.sendall(filler)
                    sent += len(filler)
            except OSError:
                pass  # the server hung up
            assert sent < 1000 * HEAD_BYTES_MAX  # sockets hold some


def test_what_is_no_http_is_told_so(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        answer = connection.recv(1000)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"<Code>BadRequest</Code>" in answer


def test_no_answer_is_older_than_what_it_tells_of(server: Server) -> None:
    """Over more than a second, so that each moment of one is met."""
    s3 = server.client()
    s3.create_bucket(Bucket="dated")
    started = time.monotonic()
    while time.monotonic() - started < 2.5:
        put = s3.put_object(Bucket="dated", Key="k", Body=b"x")["ResponseMetadata"]["HTTPHeaders"]["date"]
        found = s3.head_object(Bucket="dated", Key="k")
        assert parsedate_to_datetime(put) >= found["LastModified"]
        assert parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"]) >= found["LastModified"]


def test_every_answer_has_one_date(server: Server) -> None:
    for path in ("/", "/healthz", "/-/status", "/-/none"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            head = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")[0]
        assert head.lower().count(b"\r\ndate: ") == 1


def test_a_silent_connection_is_ended(server: Server) -> None:
    started = time.monotonic()
    with connect(server) as slow, socket.create_connection(("127.0.0.1", server.port), timeout=30) as silent:
        assert slow.recv(1) == b""
        assert silent.recv(1) == b""
    assert time.monotonic() - started < 25
