"""`bucketlog serve`: the whole store and its HTTP server in one process."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bucketlog import credentials
from bucketlog.audit import Auditor, Pass
from bucketlog.folder import usable
from bucketlog.front import create_front
from bucketlog.metrics.composed import of_store
from bucketlog.server import Service, exit_code, serve_role
from bucketlog.settings import Settings
from bucketlog.status import AuditStatus, Known
from bucketlog.store import Store, open_store
from gateway.context import Gateway

OpenStore = Callable[[Sequence[Path], Settings], Awaitable[Store]]


def run(settings: Settings, open_: OpenStore = open_store) -> int:
    """The exit code."""
    return exit_code(settings, lambda: serve(settings, open_))


def serve(settings: Settings, open_: OpenStore) -> None:
    """Runs until a signal. Raises `FolderRefused`, `OSError` (the port), `ValueError` (settings), `LogError`."""
    folders = usable([settings.data, *settings.more_data])
    root, is_new = credentials.load(settings, [folder.path for folder in folders])

    @asynccontextmanager
    async def whole_store(settings: Settings) -> AsyncIterator[Service]:
        store = await open_([folder.path for folder in folders], settings)
        gateway = Gateway(
            store.reads,
            store.blobs,
            store.commander,
            root,
            settings.region,
            settings.domain,
            settings.signature_v2,
            logs_access=settings.access_log,
            account=settings.account_id,
            open_reads=store.open_reads,
        )
        await store.start()
        _greet(settings, root, is_new)
        auditor = store.start_audit(settings.audit_pace_s, settings.audit_every_s)
        known = Known(
            lambda: store.map.current,
            store.heard,
            store.partitions,
            lambda: _audit(auditor),
            lambda: store.log_scrub.damaged,
        )
        metrics = of_store(settings, store, gateway, auditor)
        yield Service(create_front(gateway, store.log, known, metrics, store.health))
        await store.stop()

    serve_role(settings, whole_store)
    for folder in folders:
        folder.close()


def _audit(auditor: Auditor) -> AuditStatus:
    last = auditor.last_pass() or Pass()
    return AuditStatus(last.ended_ms, last.blobs, last.missing, len(auditor.lost))


def _greet(settings: Settings, root: credentials.RootCredentials, is_new: bool) -> None:
    endpoint = f"http://{settings.host}:{settings.port}"
    print(f"bucketlog serves S3 at {endpoint}, data in {settings.data.resolve()}")
    if is_new:  # never the secret itself: what a container prints is its log
        print(f"  new keys are in {settings.data.resolve() / credentials.FILE}, for its owner to read")
    print(
        f"  try: AWS_ACCESS_KEY_ID={root.access_key} AWS_SECRET_ACCESS_KEY=… aws --endpoint-url {endpoint} s3 mb s3://photos"
    )
    sys.stdout.flush()
