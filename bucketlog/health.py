"""What load balancers and supervisors ask of a role: /healthz, whether a restart would help it; /readyz, whether it serves.

Both answer 200, or 503 with the reasons, one a line.
"""

from collections.abc import Callable
from typing import NamedTuple

from starlette.responses import PlainTextResponse
from starlette.routing import Route

HEALTH, READY = "/healthz", "/readyz"


class Health(NamedTuple):
    needs_restart: Callable[[], list[str]]  # why it should be restarted
    unready: Callable[[], list[str]]  # why it should be asked nothing


def health_routes(health: Health) -> list[Route]:
    async def healthz(_: object) -> PlainTextResponse:
        return _answer(health.needs_restart(), "ok")

    async def readyz(_: object) -> PlainTextResponse:
        return _answer(health.unready(), "ready")

    return [Route(HEALTH, healthz), Route(READY, readyz)]


def _answer(reasons: list[str], well: str) -> PlainTextResponse:
    return PlainTextResponse("\n".join(reasons or [well]) + "\n", 503 if reasons else 200)
