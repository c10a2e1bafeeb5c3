"""GET /health and GET /ready: for whoever watches the process."""

from collections.abc import Callable, Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.error_responses import HttpAnswer, RequestIds, json_answer, request_id_of

Reasons = Callable[[], Sequence[str]]
"""Why no batch can be taken now; empty when batches are taken."""


def health_router(reasons_not_ready: Reasons, ids: RequestIds) -> APIRouter:
    """/health answers as long as the process does; /ready is 503, with the reason, when no batch is taken."""
    router = APIRouter()

    @router.get("/health")
    async def health(request: Request) -> Response:
        return _uncached(json_answer(200, {"status": "up"}, request_id_of(request.scope, ids)))

    @router.get("/ready")
    async def ready(request: Request) -> Response:
        request_id = request_id_of(request.scope, ids)
        reasons = reasons_not_ready()
        if not reasons:
            return _uncached(json_answer(200, {"ready": True}, request_id))
        reason = "; ".join(reasons)
        content = {
            "ready": False,
            "reason": reason,
            "error": "not_ready",
            "code": "not_ready",
            "message": f"No batches are taken now: {reason}",
            "request_id": request_id,
        }
        return _uncached(json_answer(503, content, request_id))

    return router


def _uncached(answer: HttpAnswer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = [*answer.headers, (b"cache-control", b"no-store")]
    return response
