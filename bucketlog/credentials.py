"""The root credentials: from the settings, else generated once and kept in each data folder, readable by its owner only."""

import json
import logging
import os
import secrets
import string
from collections.abc import Sequence
from pathlib import Path

from bucketlog.settings import Settings

ROOT_USER = "root"
FILE = "credentials.json"
log_ = logging.getLogger(__name__)


class RootCredentials:
    def __init__(self, access_key: str, secret: str) -> None:
        self.access_key = access_key
        self._secret = secret

    def secret(self, access_key: str) -> str | None:
        return self._secret if access_key == self.access_key else None

    def user(self, access_key: str) -> str:
        del access_key  # there is one user
        return ROOT_USER


def load(settings: Settings, folders: Sequence[Path]) -> tuple[RootCredentials, bool]:
    """(credentials, whether they were generated just now). Raises `ValueError` where only one half is given.

    The first folder's that has some; each folder gets a copy, so that the loss of a disk does not change them.
    """
    if (given := _given(settings)) is not None:
        return given, False
    kept = _kept_in_one(folders)
    found = kept or RootCredentials(
        "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(20)), secrets.token_urlsafe(30)
    )
    _keep(found, folders, is_new=kept is None)
    return found, kept is None


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
    path = data / FILE
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    return RootCredentials(kept["access_key_id"], kept["secret_access_key"])


def _kept_in_one(folders: Sequence[Path]) -> RootCredentials | None:
    """Where none can be read they are not made anew: clients know those."""
    failures: list[OSError | ValueError] = []
    for folder in folders:
        try:
            if (found := _kept(folder)) is not None:
                return found
        except (OSError, ValueError) as error:
            failures.append(error)
            log_.error("the keys in %s cannot be read: %s", folder, error)
    if failures:
        raise failures[0]
    return None


def _keep(found: RootCredentials, folders: Sequence[Path], *, is_new: bool) -> None:
    """On a disk that fails they need not be; new ones must be on one at least."""
    failures: list[OSError] = []
    for folder in folders:
        try:
            if not (folder / FILE).exists():
                _write(folder / FILE, found)
        except OSError as error:
            failures.append(error)
            log_.error("the keys cannot be kept in %s: %s", folder, error)
    if is_new and len(failures) == len(folders):
        raise failures[0]


def _write(path: Path, found: RootCredentials) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w") as stream:
        json.dump({"access_key_id": found.access_key, "secret_access_key": found.secret(found.access_key)}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)
