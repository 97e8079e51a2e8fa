"""The root credentials: from the settings, else generated once and kept in the data folder, readable by its owner only."""

import json
import os
import secrets
import string
from pathlib import Path

from bucketlog.settings import Settings

ROOT_USER = "root"
_FILE = "credentials.json"


class RootCredentials:
    def __init__(self, access_key: str, secret: str) -> None:
        self.access_key = access_key
        self._secret = secret

    def secret(self, access_key: str) -> str | None:
        return self._secret if access_key == self.access_key else None

    def user(self, access_key: str) -> str:
        del access_key  # there is one user
        return ROOT_USER


def load(settings: Settings, data: Path) -> tuple[RootCredentials, bool]:
    """(credentials, whether they were generated just now). Raises `ValueError` where only one half is given."""
    if (found := _given(settings) or _kept(data)) is not None:
        return found, False
    access_key = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(20))
    secret = secrets.token_urlsafe(30)
    file = os.open(data / _FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w") as stream:
        json.dump({"access_key_id": access_key, "secret_access_key": secret}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    return RootCredentials(access_key, secret), True


def known(settings: Settings, data: Path) -> RootCredentials:
    """For who asks a store. Raises `ValueError` where there are none."""
    if (found := _given(settings) or _kept(data)) is not None:
        return found
    raise ValueError(
        f"there are no keys in {data}: name the data folder by --data, or set BUCKETLOG_ACCESS_KEY_ID and "
        "BUCKETLOG_SECRET_ACCESS_KEY"
    )


def _given(settings: Settings) -> RootCredentials | None:
    given = (settings.access_key_id, settings.secret_access_key.get_secret_value())
    if all(given):
        return RootCredentials(*given)
    if any(given):
        raise ValueError("set both BUCKETLOG_ACCESS_KEY_ID and BUCKETLOG_SECRET_ACCESS_KEY, or neither")
    return None


def _kept(data: Path) -> RootCredentials | None:
    path = data / _FILE
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    return RootCredentials(kept["access_key_id"], kept["secret_access_key"])
