"""`bucketlog events`: the event stream."""

import os
import sys
from typing import Annotated

import typer

from bucketlog.cli.options import ENDPOINT, ConfigOption, EndpointOption, KeysOption, client, fail

app = typer.Typer(no_args_is_help=True, help="The event stream.")


@app.callback()
def root() -> None:
    """Keeps `tail` a command of its own."""


@app.command()
def tail(
    bucket: Annotated[str, typer.Option(help="Only this bucket's events.")] = "",
    start: Annotated[
        str, typer.Option("--from", help="beginning, now, or the position of the last line seen.")
    ] = "beginning",
    endpoint: EndpointOption = ENDPOINT,
    data: KeysOption = None,
    config: ConfigOption = None,
) -> None:
    """Print events as they come, one JSON object a line."""
    from bucketlog import events
    from bucketlog.admin_client import Refused

    asked = client(endpoint, data, config)
    try:
        for line in asked.lines(events.PATH, {"bucket": bucket, "from": start}):
            sys.stdout.write(line.decode())
            sys.stdout.flush()
            if line.startswith(events.FAILED):
                raise SystemExit(1)
    except BrokenPipeError:  # whoever read our lines has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Refused, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        pass
