"""GET /health and GET /ready: for monitoring."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.answers import Health, Ready
from app.api.error_responses import HttpAnswer, RequestIds, json_answer, request_id_of
from app.api.openapi.answers import json_answer as json_example

Reasons = Callable[[], Sequence[str]]
"""Why batches are refused now; empty when batches are accepted."""

_REASON: Final = "disk full"
_NOT_READY: Final = {
    "ready": False,
    "reason": _REASON,
    "error": "not_ready",
    "code": "not_ready",
    "message": f"Batches are refused now: {_REASON}",
    "request_id": "5f0c1a9e0000002a",
}
_READY: Final[dict[int | str, dict[str, Any]]] = {
    200: json_example("Batches are accepted.", {"ready": {"ready": True}}),
    503: {"model": Ready}
    | json_example("Batches are refused; the message says why.", {"not_ready": _NOT_READY}),
}


def health_router(reasons_not_ready: Reasons, ids: RequestIds) -> APIRouter:
    """/health answers as long as the process runs; /ready is 503, with the reason, while batches are
    refused."""
    router = APIRouter()

    @router.get(
        "/health",
        tags=["operation"],
        operation_id="health",
        summary="Whether the process is up",
        response_model=Health,
        responses={200: json_example("Up.", {"up": {"status": "up"}})},
        openapi_extra={"security": []},
    )
    async def health(request: Request) -> Response:
        up = Health(status="up").model_dump()
        return _uncached(json_answer(200, up, request_id_of(request.scope, ids)))

    @router.get(
        "/ready",
        tags=["operation"],
        operation_id="ready",
        summary="Whether batches are accepted",
        response_model=Ready,
        responses=_READY,
        openapi_extra={"security": []},
    )
    async def ready(request: Request) -> Response:
        request_id = request_id_of(request.scope, ids)
        reasons = reasons_not_ready()
        if not reasons:
            return _uncached(json_answer(200, Ready(ready=True).model_dump(exclude_unset=True), request_id))
        reason = "; ".join(reasons)
        content = Ready(
            ready=False,
            reason=reason,
            error="not_ready",
            code="not_ready",
            message=f"Batches are refused now: {reason}",
            request_id=request_id,
        )
        return _uncached(json_answer(503, content.model_dump(), request_id))

    return router


def _uncached(answer: HttpAnswer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = [*answer.headers, (b"cache-control", b"no-store")]
    return response
