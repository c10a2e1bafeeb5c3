"""GET /status: the account of every accepted row; with `?errors`, what was refused last."""

import asyncio
import datetime
from collections.abc import Callable, Mapping
from typing import Final

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Scope

from app.api.files.routes import Authorise, WorkspaceId
from app.commit.recent_refusals import RecentRefusals, Refused

_READABLE: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def status_router(
    account: Callable[[], Mapping[str, object]],
    authorise_admin: Callable[[Scope], None],
    refusals: RecentRefusals,
    authorise: Authorise,
) -> APIRouter:
    """account: what to answer, as JSON knows it; called in a thread, since it may wait for a lock."""
    router = APIRouter()

    @router.get("/status")
    async def status(request: Request, workspace_id: WorkspaceId = None) -> Response:
        if "errors" in request.query_params:
            wanted = authorise(request.scope).narrow(workspace_id)
            content: object = {"refusals": [refusal_json(each) for each in refusals.last(wanted)]}
        else:
            authorise_admin(request.scope)
            content = await asyncio.to_thread(account)
        body = orjson.dumps(content, option=_READABLE)
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

    return router


def refusal_json(refused: Refused) -> dict[str, object]:
    """row: None for a whole batch."""
    at = datetime.datetime.fromtimestamp(refused.at_ms / 1000, datetime.UTC)
    return {
        "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "workspace_id": refused.workspace_id,
        "kind": refused.kind or None,
        "reason": refused.reason,
        "row": refused.row or None,
        "field": refused.field or None,
        "message": refused.message,
        "text": refused.text or None,
    }
