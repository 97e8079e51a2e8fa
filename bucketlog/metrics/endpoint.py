"""GET /-/metrics: for who has the token; where none is set, for who asks from this machine.

A request that a proxy on this machine passes on comes from elsewhere: it is told by the proxy's header, or by the token.
"""

import hmac
import ipaddress
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bucketlog.metrics.ends import Ends
from bucketlog.settings import Settings

PATH = "/-/metrics"
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def metrics_route(settings: Settings, ends: Ends, collectors: Iterable[Collector]) -> Route:
    token = settings.metrics_token.get_secret_value()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for each in (ends, *collectors):
        registry.register(each)

    async def answer(request: Request) -> Response:
        if (refusal := _refusal(request, token)) is not None:
            return refusal
        await ends.look()
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return Route(PATH, answer)


def _refusal(request: Request, token: str) -> Response | None:
    if token:
        given = request.headers.get("authorization", "")
        if hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return None
        return PlainTextResponse("send the token of metrics\n", 401, {"www-authenticate": "Bearer"})
    is_passed_on = any(name in request.headers for name in FORWARDED)
    if not is_passed_on and request.client is not None and _is_here(request.client.host):
        return None
    return PlainTextResponse("set BUCKETLOG_METRICS_TOKEN to read metrics from another machine\n", 403)


def _is_here(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
