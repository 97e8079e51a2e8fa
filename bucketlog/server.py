"""A role behind uvicorn, from its address to the exit code.

Stopping (SIGTERM, SIGINT): others take over what they can, in-flight requests end, at most 6 s; then the volumes are synced
and the log is closed.
"""

import asyncio
import gc
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import NamedTuple

import uvicorn
import uvloop
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bucketlog import logs
from bucketlog.folder import FolderRefused
from bucketlog.http1.connection import Connection
from bucketlog.settings import Settings
from datanode.member import NodeReplaced
from processors.replica import ViewMismatch
from topics.log import LogError

GRACE_S = 6
SWITCH_INTERVAL_S = 0.0005  # a sync's thread gets the interpreter back ten times sooner than by default
BACKLOG = 2048


async def _nothing() -> None:
    """Nobody takes over from this role."""


class Service(NamedTuple):
    """What a role offers while it runs."""

    app: ASGIApp
    hand_over: Callable[[], Awaitable[None]] = _nothing  # before it stops to answer
    must_run: asyncio.Task[None] | None = None  # the role ends when this does


Role = Callable[[Settings], AbstractAsyncContextManager[Service]]


def serve_role(settings: Settings, role: Role) -> None:
    """A role's HTTP service until a signal; raises what kept it from starting."""
    listener = _listen(settings.host, settings.port)
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))  # each volume is an open file
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    uvloop.run(_serve(settings, role, listener))


async def _serve(settings: Settings, role: Role, listener: socket.socket) -> None:
    """Answers from the start on, so that a balancer is told that the role is not ready yet."""
    front = _Front()
    config = uvicorn.Config(
        front,
        http=Connection,
        ws="none",
        lifespan="off",
        access_log=False,
        proxy_headers=False,  # nobody is believed who they say they are
        log_config=None,  # `logs` has it
        log_level="warning",
        server_header=False,
        date_header=False,  # an exchange has it
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config, front)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    running = asyncio.create_task(_run(settings, role, front, serving))
    await asyncio.wait([serving, running], return_when=asyncio.FIRST_COMPLETED)
    if not front.is_started:
        running.cancel()  # stopped while it was starting, or it could not start
    server.should_exit = True
    await asyncio.gather(serving, running, return_exceptions=True)
    if not running.cancelled():
        running.result()


async def _run(settings: Settings, role: Role, front: "_Front", serving: "asyncio.Task[None]") -> None:
    async with role(settings) as service:
        gc.collect()
        gc.freeze()  # what lives from the start on is not looked through again
        front.start(service)
        must_run = [] if service.must_run is None else [service.must_run]
        await asyncio.wait([serving, *must_run], return_when=asyncio.FIRST_COMPLETED)
        for task in must_run:
            if task.done() and not serving.done():
                task.result()


class _Front:
    """Passes requests on once the role has started."""

    def __init__(self) -> None:
        self.service = Service(_starting)

    @property
    def is_started(self) -> bool:
        return self.service.app is not _starting

    def start(self, service: Service) -> None:
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.service.app(scope, receive, send)


async def _starting(scope: Scope, receive: Receive, send: Send) -> None:
    """Closes the connection: a body that it did not ask for does not come, and the next request would pass for it."""
    is_alive = scope["path"] == "/healthz"
    headers = {"retry-after": "1", "connection": "close"}
    answer = PlainTextResponse("ok\n") if is_alive else PlainTextResponse("starting\n", 503, headers)
    await answer(scope, receive, send)


class _Server(uvicorn.Server):
    """Uvicorn would take the signals for itself, and raise them again; here stopping is a success."""

    def __init__(self, config: uvicorn.Config, front: _Front) -> None:
        super().__init__(config)
        self._front = front

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._front.service.hand_over()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    listener.listen(BACKLOG)
    return listener


def exit_code(settings: Settings, work: Callable[[], None]) -> int:
    """Each failure that an operator can mend is one line on stderr."""
    try:
        logs.configure(settings)
        work()
    except (FolderRefused, LogError, NodeReplaced, ViewMismatch, OSError, ValueError) as error:
        print(f"bucketlog: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
    return 0
