"""GET /metrics: everything that is counted, as Prometheus text."""

from collections.abc import Callable

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import Scope


def metrics_router(registry: Collector, authorise_admin: Callable[[Scope], None]) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/metrics")
    def metrics(request: Request) -> Response:
        authorise_admin(request.scope)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
