"""POST /flush: publish buffered rows now. A browser is then redirected to the files."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse

from app import errors
from app.api.answers import Flushed, JsonLine, ListedFile
from app.api.files.routes import Authorise, WorkspaceId
from app.api.openapi.answers import ADMIN_OR_KEY, answers, data_file_example, json_answer
from app.api.pages.shell import prefers_html
from app.errors import Overloaded
from app.publish.intake import FlushResult, NotPublished, WriterStopped

RETRY_AFTER_S: Final = 10

_ANSWERS: Final = answers(
    json_answer("Published.", {"result": {"flushed_rows": 120, "files": [data_file_example()]}}),
    errors.MalformedBatch,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.Overloaded,
)

Flush = Callable[[int | None], Future[FlushResult]]
"""Takes a workspace, or None for all; its future resolves when everything accepted before that is in
files."""


def flush_router(
    flush: Flush, problem: Callable[[], str | None], authorise: Authorise, timeout_s: float
) -> APIRouter:
    """problem: why publishing is failing now. timeout_s: how long a request waits for its flush, which
    continues if the request times out."""
    router = APIRouter()

    @router.post(
        "/flush",
        tags=["operation"],
        operation_id="flush",
        summary="Publish all buffered rows now",
        response_model=Flushed,
        response_class=JsonLine,
        responses=_ANSWERS,
        openapi_extra=ADMIN_OR_KEY,
    )
    async def flush_now(request: Request, workspace_id: WorkspaceId = None) -> Flushed | RedirectResponse:
        """Answers when all rows accepted before the call are in published files.

        Pages of other origins are refused.
        """
        workspace_id = authorise(request.scope).narrow(workspace_id)
        # Not wait_for: that would cancel the future under the writer's hands.
        flushing = asyncio.wrap_future(flush(workspace_id))
        done, _ = await asyncio.wait({flushing}, timeout=timeout_s)
        if not done:
            why = problem()
            raise Overloaded(
                f"The flush is taking longer than {timeout_s:g} seconds and continues; /status shows what "
                f"is still buffered.{'' if why is None else f' Reason: {why}.'}",
                retry_after_s=RETRY_AFTER_S,
                code="flush_timeout",
            )
        try:
            result = flushing.result()
        except NotPublished as error:
            raise Overloaded(
                f"{error}. Its rows are durable in the journal, and publishing them is retried.",
                retry_after_s=RETRY_AFTER_S,
                code="publish_failed",
            ) from None
        except WriterStopped as error:
            raise Overloaded(f"{error}.", retry_after_s=RETRY_AFTER_S) from None
        if prefers_html(request.scope):
            of = "" if workspace_id is None else f"workspace_id={workspace_id}&"
            return RedirectResponse(f"/files?{of}flushed_rows={result.flushed_rows}", 303)
        return Flushed(flushed_rows=result.flushed_rows, files=[ListedFile.of(file) for file in result.files])

    return router
