"""GET, as `curl` does it; and an application behind a port of its own."""

import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from tests.bucketlog.http1 import serving


def get(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {})), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Its endpoint, in this process."""
    async with serving.served(app) as port:
        yield f"http://127.0.0.1:{port}"
