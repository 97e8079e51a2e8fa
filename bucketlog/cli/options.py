"""Options that several commands share, and the settings that they override."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from bucketlog.admin_client import AdminClient
    from bucketlog.settings import Settings

DataOption = Annotated[Path | None, typer.Option(help="Data folder [default: ./data].")]
HostOption = Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")]
PortOption = Annotated[int | None, typer.Option(help="Port to listen on [default: 9000].")]
ConfigOption = Annotated[Path | None, typer.Option(help="Settings file, TOML.", envvar="BUCKETLOG_CONFIG")]
EndpointOption = Annotated[str, typer.Option(help="Address of the store, or of a gateway.")]
KeysOption = Annotated[Path | None, typer.Option("--data", help="Folder of `serve`, for its keys [default: ./data].")]
ENDPOINT = "http://127.0.0.1:9000"


def settings_of(config: Path | None, flags: dict[str, object]) -> "Settings":
    from bucketlog import settings

    try:
        return settings.load(config, flags)
    except ValueError as error:
        fail(str(error))


def client(endpoint: str, data: Path | None, config: Path | None) -> "AdminClient":
    """Asks with the root key: that of the settings, else the one in the data folder."""
    from bucketlog import credentials
    from bucketlog.admin_client import AdminClient

    found = settings_of(config, {"data": data})
    try:
        keys = credentials.known(found, found.data)
        return AdminClient(endpoint, found.region, keys)
    except (OSError, ValueError) as error:
        fail(str(error))


def fail(why: str) -> NoReturn:
    print(f"bucketlog: {why}", file=sys.stderr)
    raise SystemExit(1) from None
