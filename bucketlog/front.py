"""The HTTP side of whoever answers S3: a gateway of a cluster, or the whole store."""

from collections.abc import Callable

from starlette.routing import Route
from starlette.types import ASGIApp

from bucketlog import events, nodes, status
from bucketlog.admin import create_admin_app, signed
from bucketlog.events import answer_events
from bucketlog.nodes import answer_node
from bucketlog.status import Known, answer_status
from gateway.app import create_app
from gateway.context import Gateway
from topics.log import Log


def create_front(gateway: Gateway, log: Log, known: Known, metrics: Route, is_ready: Callable[[], bool]) -> ASGIApp:
    routes = [
        metrics,
        signed(events.PATH, answer_events(log), gateway.credentials),
        signed(status.PATH, answer_status(known), gateway.credentials),
        signed(nodes.PATH, answer_node(gateway.commander), gateway.credentials, "POST"),
    ]
    return create_admin_app(create_app(gateway, is_ready), routes, gateway.domain)
