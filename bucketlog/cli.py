"""The command line: `bucketlog serve`, the roles of a cluster, `bucketlog events tail`."""

import asyncio
import http.client
import os
import sys
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode, urlsplit

import typer

from bucketlog import credentials, server, settings
from bucketlog.events import FAILED, PATH
from gateway.request import Request
from gateway.sigv4 import ALGORITHM, EMPTY_SHA256, Claim, canonical_request, sign, signing_key

app = typer.Typer(no_args_is_help=True, add_completion=False, help="An S3-compatible object store whose database is a log.")
events_app = typer.Typer(no_args_is_help=True, help="The event stream.")
app.add_typer(events_app, name="events")
topics_app = typer.Typer(no_args_is_help=True, help="The topics of a cluster, on Kafka.")
app.add_typer(topics_app, name="topics")

DataOption = Annotated[Path | None, typer.Option(help="Data folder [default: ./data].")]
HostOption = Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")]
PortOption = Annotated[int | None, typer.Option(help="Port to listen on [default: 9000].")]
ConfigOption = Annotated[Path | None, typer.Option(help="Settings file, TOML.", envvar="BUCKETLOG_CONFIG")]


@app.callback()
def root() -> None:
    """Keeps `serve` a command of its own."""


@app.command()
def serve(
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Data folder [default: ./data]; several, each on a disk of its own, replicate."),
    ] = None,
    host: HostOption = None,
    port: PortOption = None,
    region: Annotated[str | None, typer.Option(help="Region of the buckets [default: us-east-1].")] = None,
    domain: Annotated[str | None, typer.Option(help="Domain for virtual-host style addresses.")] = None,
    config: ConfigOption = None,
) -> None:
    """Run the whole store in one process."""
    first, more = (data[0], data[1:] or None) if data else (None, None)
    flags: dict[str, object] = {"data": first, "more_data": more, "host": host, "port": port}
    flags |= {"region": region, "domain": domain}
    raise SystemExit(server.run(_settings(config, flags)))


@app.command()
def gateway(host: HostOption = None, port: PortOption = None, config: ConfigOption = None) -> None:
    """Run a gateway of a cluster: S3 in front of Kafka, processors and data nodes."""
    _run_role("gateway", {"host": host, "port": port}, config)


@app.command()
def processor(
    data: DataOption = None, host: HostOption = None, port: PortOption = None, config: ConfigOption = None
) -> None:
    """Run a metadata processor of a cluster; partitions are shared among all that run."""
    _run_role("processor", {"data": data, "host": host, "port": port}, config)


@app.command()
def datanode(
    data: DataOption = None, host: HostOption = None, port: PortOption = None, config: ConfigOption = None
) -> None:
    """Run a data node of a cluster."""
    _run_role("datanode", {"data": data, "host": host, "port": port}, config)


def _run_role(name: str, flags: dict[str, object], config: Path | None) -> None:
    from bucketlog import roles  # noqa: PLC0415 - one process alone needs no Kafka client

    found = _settings(config, flags)
    raise SystemExit(server.exit_code(lambda: server.serve_role(found, getattr(roles, name))))


@topics_app.command()
def create(config: ConfigOption = None) -> None:
    """Make the topics that are missing, with the settings that they need."""
    _run_topics(config, create=True)


@topics_app.command()
def describe(config: ConfigOption = None) -> None:
    """Show the topics that there are."""
    _run_topics(config, create=False)


def _run_topics(config: Path | None, *, create: bool) -> None:
    from bucketlog import roles  # noqa: PLC0415 - one process alone needs no Kafka client

    found = _settings(config, {})
    raise SystemExit(server.exit_code(lambda: print(asyncio.run(roles.topics(found, create=create)))))


@events_app.command()
def tail(
    bucket: Annotated[str, typer.Option(help="Only this bucket's events.")] = "",
    start: Annotated[
        str, typer.Option("--from", help="beginning, now, or the position of the last line seen.")
    ] = "beginning",
    endpoint: Annotated[str, typer.Option(help="The store's address.")] = "http://127.0.0.1:9000",
    data: DataOption = None,
) -> None:
    """Print events as they come, one JSON object a line."""
    found = _settings(None, {"data": data})
    keys, _ = credentials.load(found, found.data)
    query = urlencode({"bucket": bucket, "from": start})
    address = urlsplit(endpoint)
    connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port or 80)
    try:
        connection.request("GET", f"{PATH}?{query}", headers=_signed(address.netloc, query, found.region, keys))
        response = connection.getresponse()
        line = b""
        for line in response:
            sys.stdout.write(line.decode())
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read our lines has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except OSError as error:
        print(f"bucketlog: {endpoint} cannot be reached: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        return
    if response.status != 200 or line.startswith(FAILED):
        raise SystemExit(1)


def _signed(host: str, query: str, region: str, keys: credentials.RootCredentials) -> dict[str, str]:
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{date[:8]}/{region}/s3/aws4_request"
    headers = {"host": host, "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": date}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    asgi = {"method": "GET", "path": PATH, "query_string": query.encode(), "headers": raw}
    request = Request(asgi, _no_body, "")
    claim = Claim(keys.access_key, scope, sorted(headers), "", date)
    secret = keys.secret(keys.access_key) or ""
    signature = sign(signing_key(secret, scope), claim, canonical_request(request, claim.signed, EMPTY_SHA256))
    credential = f"Credential={keys.access_key}/{scope}"
    headers["authorization"] = f"{ALGORITHM} {credential},SignedHeaders={';'.join(claim.signed)},Signature={signature}"
    return headers


async def _no_body() -> dict[str, object]:
    return {"type": "http.request", "body": b"", "more_body": False}


def _settings(config: Path | None, flags: dict[str, object]) -> settings.Settings:
    try:
        return settings.load(config, flags)
    except ValueError as error:
        print(f"bucketlog: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def main() -> None:
    app()
