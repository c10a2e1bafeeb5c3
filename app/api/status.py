"""GET /status: the account of every accepted row."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Scope

_READABLE: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def status_router(
    account: Callable[[], Mapping[str, object]], authorise_admin: Callable[[Scope], None]
) -> APIRouter:
    """account: what to answer, as JSON knows it; called in a thread, since it may wait for a lock."""
    router = APIRouter()

    @router.get("/status")
    async def status(request: Request) -> Response:
        authorise_admin(request.scope)
        body = orjson.dumps(
            await asyncio.to_thread(account), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        )
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

    return router
