"""A boto3 client of the running store, and a bucket of its own for each test."""

import uuid
from typing import Any

import pytest

from tests.server import Server


@pytest.fixture
def s3(server: Server) -> Any:
    return server.client()


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"b-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name
