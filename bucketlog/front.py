"""The HTTP side of whoever answers S3: a gateway of a cluster, or the whole store."""

from starlette.routing import Route
from starlette.types import ASGIApp

from bucketlog import events, nodes, status
from bucketlog.admin import create_admin_app, signed
from bucketlog.events import answer_events
from bucketlog.health import Health, health_routes
from bucketlog.nodes import answer_cluster, answer_node
from bucketlog.status import Known, answer_status
from gateway.app import S3App
from gateway.context import Gateway
from topics.log import Log


def create_front(gateway: Gateway, log: Log, known: Known, metrics: Route, health: Health) -> ASGIApp:
    routes = [
        *health_routes(health),
        metrics,
        signed(events.PATH, answer_events(log), gateway.credentials),
        signed(status.PATH, answer_status(known), gateway.credentials),
        signed(nodes.PATH, answer_node(gateway.commander), gateway.credentials, "POST"),
        signed(nodes.CLUSTER_PATH, answer_cluster(gateway.commander), gateway.credentials, "POST"),
    ]
    return create_admin_app(S3App(gateway), routes, gateway.domain)
