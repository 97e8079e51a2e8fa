"""The command line: `bucketlog serve`, the roles of a cluster, its topics; the other families have a file each.

What a command needs is imported when it runs: help is there at once, and a role loads what it runs alone.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bucketlog.cli import cluster, events
from bucketlog.cli.options import ConfigOption, DataOption, HostOption, PortOption, settings_of

if TYPE_CHECKING:
    from bucketlog.server import Role

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # one may be a secret
    help="An S3-compatible object store whose database is a log.",
)
app.add_typer(events.app, name="events")
app.command("status")(cluster.state)
app.add_typer(cluster.node_app, name="node")
app.add_typer(cluster.cluster_app, name="cluster")
topics_app = typer.Typer(no_args_is_help=True, help="The topics of a cluster, on Kafka.")
app.add_typer(topics_app, name="topics")


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
    from bucketlog.serve import run

    first, more = (data[0], data[1:] or None) if data else (None, None)
    flags: dict[str, object] = {"data": first, "more_data": more, "host": host, "port": port}
    flags |= {"region": region, "domain": domain}
    raise SystemExit(run(settings_of(config, flags)))


@app.command()
def gateway(host: HostOption = None, port: PortOption = None, config: ConfigOption = None) -> None:
    """Run a gateway of a cluster: S3 in front of Kafka, processors and data nodes."""
    from bucketlog.roles.gateway import gateway

    _run_role(gateway, {"host": host, "port": port}, config)


@app.command()
def processor(
    data: DataOption = None, host: HostOption = None, port: PortOption = None, config: ConfigOption = None
) -> None:
    """Run a metadata processor of a cluster; partitions are shared among all that run."""
    from bucketlog.roles.processor import processor

    _run_role(processor, {"data": data, "host": host, "port": port}, config)


@app.command()
def datanode(
    data: DataOption = None, host: HostOption = None, port: PortOption = None, config: ConfigOption = None
) -> None:
    """Run a data node of a cluster."""
    from bucketlog.roles.datanode import datanode

    _run_role(datanode, {"data": data, "host": host, "port": port}, config)


def _run_role(role: "Role", flags: dict[str, object], config: Path | None) -> None:
    from bucketlog import server

    found = settings_of(config, flags)
    raise SystemExit(server.exit_code(found, lambda: server.serve_role(found, role)))


@topics_app.command()
def create(config: ConfigOption = None) -> None:
    """Make the topics that are missing, with the settings that they need."""
    _run_topics(config, create=True)


@topics_app.command()
def describe(config: ConfigOption = None) -> None:
    """Show the topics that there are."""
    _run_topics(config, create=False)


def _run_topics(config: Path | None, *, create: bool) -> None:
    import asyncio

    from bucketlog import server
    from bucketlog.roles import cluster

    found = settings_of(config, {})
    raise SystemExit(server.exit_code(found, lambda: print(asyncio.run(cluster.topics(found, create=create)))))


def main() -> None:
    app()
