"""GET /status: an account of all accepted rows; with `?errors`, the latest refusals."""

import asyncio
import datetime
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from starlette.types import Scope

from app import errors
from app.api.answers import UNCACHED, ReadableJson, Refusal, Refusals, Status
from app.api.files.routes import Authorise, WorkspaceId
from app.api.openapi.answers import ADMIN_OR_KEY, answers, json_answer
from app.commit.recent_refusals import RecentRefusal, RecentRefusals

_ROW: Final = {
    "workspace_id": 1,
    "kind": "events",
    "accepted": 120,
    "published": 100,
    "buffered": 20,
    "quarantined": 0,
    "removed": 0,
}
_REFUSED: Final = {
    "at": "2026-09-21T14:00:01.042Z",
    "workspace_id": 1,
    "kind": "events",
    "reason": "invalid_row",
    "row": 2,
    "field": "type",
    "message": "unknown: 'click'; must be track, identify, group, alias, enrich or context",
    "text": '{"type": "click"}',
}
_ANSWERS: Final = answers(
    json_answer(
        "The account of all rows, or with `errors` the latest refusals.",
        {"status": {"rows": [_ROW]}, "errors": {"refusals": [_REFUSED]}},
    ),
    errors.Unauthenticated,
    errors.Forbidden,
    errors.Overloaded,
)


def status_router(
    account: Callable[[], Status],
    authorise_admin: Callable[[Scope], None],
    refusals: RecentRefusals,
    authorise: Authorise,
) -> APIRouter:
    """account: called in a thread, since it may wait for a lock."""
    router = APIRouter()

    @router.get(
        "/status",
        tags=["operation"],
        operation_id="status",
        summary="An account of all accepted rows",
        response_class=ReadableJson,
        response_model_exclude_unset=True,
        responses=_ANSWERS,
        openapi_extra=ADMIN_OR_KEY,
    )
    async def status(
        request: Request,
        response: Response,
        of_refusals: Annotated[
            str | None, Query(alias="errors", description="The latest refusals, instead of the account.")
        ] = None,
        workspace_id: WorkspaceId = None,
    ) -> Status | Refusals:
        """accepted = published + buffered + quarantined + removed, for each workspace and kind.

        With `?errors`, the last hundred refusals of each workspace by this process, newest first; a
        workspace's key may request its own.
        """
        response.headers.update(UNCACHED)
        if of_refusals is not None:
            wanted = authorise(request.scope).narrow(workspace_id)
            return Refusals(refusals=[refusal_answer(each) for each in refusals.last(wanted)])
        authorise_admin(request.scope)
        return await asyncio.to_thread(account)

    return router


def refusal_answer(refused: RecentRefusal) -> Refusal:
    at = datetime.datetime.fromtimestamp(refused.at_ms / 1000, datetime.UTC)
    return Refusal(
        at=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        workspace_id=refused.workspace_id,
        kind=refused.kind or None,
        reason=refused.reason,
        row=refused.row or None,
        field=refused.field or None,
        message=refused.message,
        text=refused.text or None,
    )
