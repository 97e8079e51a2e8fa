"""Requests signed by botocore and sent as they are, for what no SDK sends; and what the answer says."""

import http.client
import re
from typing import NamedTuple

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.server import ACCESS_KEY, REGION, SECRET_KEY, Server


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]  # by lower-case name
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        """Of the body's document: the text of each element that has nothing but text."""
        return dict(re.findall(r"<([\w-]+)(?: [^>]*)?>([^<]*)</", self.body.decode()))

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.fields.get("Code", "")


def ask(
    server: Server, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"", region: str = REGION
) -> Answer:
    """`target`: path and query as they stand in the request line."""
    aws = AWSRequest(method, server.endpoint + target, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"} | (headers or {}), body)
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", region).add_auth(aws)
    return send(server, method, target, dict(aws.headers.items()), body)


def send(server: Server, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
    """Unsigned, or signed by somebody else."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()
