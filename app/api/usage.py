"""GET /usage: how much each workspace has had accepted, by day."""

import asyncio
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api.files.routes import EMPTY_IS_ABSENT, Authorise, WorkspaceId
from app.commit.usage import Amount, UsageByDay
from app.errors import RequestError
from app.kinds import Kind

DAYS_MAX: Final = 400
"""Of one request."""

DAYS_DEFAULT: Final = 31

Day = Annotated[datetime.date | None, EMPTY_IS_ABSENT]
UsageOf = Callable[[Sequence[str]], UsageByDay]


def usage_router(usage_of: UsageOf, authorise: Authorise, *, knows_bytes: bool) -> APIRouter:
    """usage_of: by day, of these days; called in a thread, since it reads the disk for those that are past.

    knows_bytes: whether it counts bytes, too; else they are answered as null.
    """
    router = APIRouter()

    @router.get("/usage")
    async def usage(
        request: Request,
        from_: Annotated[Day, Query(alias="from")] = None,
        to: Annotated[Day, Query()] = None,
        workspace_id: WorkspaceId = None,
    ) -> Response:
        workspace_id = authorise(request.scope).narrow(workspace_id)
        last = to or datetime.datetime.now(datetime.UTC).date()
        first = from_ or datetime.date.fromordinal(max(last.toordinal() - DAYS_DEFAULT + 1, 1))
        if not 0 <= (last - first).days < DAYS_MAX:
            raise RequestError(
                f"`from` is after `to`, or there are more than {DAYS_MAX} days from one to the other.",
                code="invalid_parameter",
            )
        asked = [
            (first + datetime.timedelta(days=each)).isoformat() for each in range((last - first).days + 1)
        ]
        found = await asyncio.to_thread(usage_of, asked)
        content: dict[str, Any] = {
            "from": asked[0],
            "to": asked[-1],
            "usage": [
                line for day in asked if day in found for line in usage_lines(day, found[day], workspace_id)
            ],
        }
        if not knows_bytes:
            for line in content["usage"]:
                line["bytes"] = None
        return Response(
            orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE),
            media_type="application/json",
            headers={"cache-control": "no-store"},
        )

    return router


def usage_lines(
    day: str, amounts: Mapping[tuple[int, Kind], Amount], workspace_id: int | None
) -> list[dict[str, object]]:
    """One line a workspace: rows of each kind, and all rows and bytes."""
    lines: dict[int, dict[str, object]] = {}
    totals: dict[int, list[int]] = {}
    for (workspace, kind), amount in sorted(amounts.items()):
        if workspace_id is not None and workspace != workspace_id:
            continue
        line = lines.setdefault(
            workspace, {"workspace_id": workspace, "date": day, **dict.fromkeys(map(str, Kind), 0)}
        )
        line[kind.value] = amount.rows
        total = totals.setdefault(workspace, [0, 0])
        total[0] += amount.rows
        total[1] += amount.bytes
    for workspace, (rows, size) in totals.items():
        lines[workspace] |= {"rows": rows, "bytes": size}
    return list(lines.values())
