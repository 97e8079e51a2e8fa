"""GET, as `curl` does it."""

import urllib.error
import urllib.request
from collections.abc import Mapping


def get(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {})), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
