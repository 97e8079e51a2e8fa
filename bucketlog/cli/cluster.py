"""`bucketlog status` and `bucketlog node`: the state of a cluster's data nodes, and what an operator does with them."""

from typing import Annotated

import typer

from bucketlog.cli.options import ENDPOINT, ConfigOption, EndpointOption, KeysOption, client

NodeArgument = Annotated[str, typer.Argument(help="Name of the data node, as `bucketlog status` shows it.")]
node_app = typer.Typer(no_args_is_help=True, help="The data nodes of a cluster, or the disks of `serve`.")
cluster_app = typer.Typer(no_args_is_help=True, help="What a cluster does by itself.")


def state(
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew each second.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    endpoint: EndpointOption = ENDPOINT,
    data: KeysOption = None,
    config: ConfigOption = None,
) -> None:
    """Show data nodes, replication groups and partitions."""
    from bucketlog.cli import operate

    work = operate.print_json if as_json else operate.watch if watch else operate.print_tables
    work(client(endpoint, data, config))


@node_app.command()
def drain(
    name: NodeArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the node holds nothing any more.")] = False,
    endpoint: EndpointOption = ENDPOINT,
    data: KeysOption = None,
    config: ConfigOption = None,
) -> None:
    """Copy all that a data node has to others; it gives up what they have."""
    from bucketlog.cli import operate

    operate.drain(client(endpoint, data, config), name, wait=wait)


@node_app.command()
def stay(
    name: NodeArgument, endpoint: EndpointOption = ENDPOINT, data: KeysOption = None, config: ConfigOption = None
) -> None:
    """Take a drain back."""
    from bucketlog.cli import operate

    operate.act(client(endpoint, data, config), name, "stay")


@node_app.command()
def remove(
    name: NodeArgument, endpoint: EndpointOption = ENDPOINT, data: KeysOption = None, config: ConfigOption = None
) -> None:
    """Forget a data node that was drained and stopped."""
    from bucketlog.cli import operate

    operate.act(client(endpoint, data, config), name, "remove")


@cluster_app.command()
def pause(endpoint: EndpointOption = ENDPOINT, data: KeysOption = None, config: ConfigOption = None) -> None:
    """No data node goes out by itself: for work on racks, networks, many nodes. Who is silent is down all the same."""
    from bucketlog.cli import operate

    operate.act_on_cluster(client(endpoint, data, config), "pause")


@cluster_app.command()
def resume(endpoint: EndpointOption = ENDPOINT, data: KeysOption = None, config: ConfigOption = None) -> None:
    """Take a pause back: a data node that is down for long goes out."""
    from bucketlog.cli import operate

    operate.act_on_cluster(client(endpoint, data, config), "resume")
