"""What a connection may send before a request's head is whole."""

import socket
import time

from bucketlog.protocol import HEAD_BYTES_MAX
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
                while sent < 100 * HEAD_BYTES_MAX:
                    connection.sendall(filler)
                    sent += len(filler)
            except OSError:
                pass  # the server hung up
            assert sent < 100 * HEAD_BYTES_MAX


def test_what_is_no_http_is_told_so(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        answer = connection.recv(1000)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"<Code>BadRequest</Code>" in answer


def test_a_silent_connection_is_ended(server: Server) -> None:
    started = time.monotonic()
    with connect(server) as slow, socket.create_connection(("127.0.0.1", server.port), timeout=30) as silent:
        assert slow.recv(1) == b""
        assert silent.recv(1) == b""
    assert time.monotonic() - started < 25
