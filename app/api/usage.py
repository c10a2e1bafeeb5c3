"""GET /usage: accepted rows and bytes of each workspace, by day."""

import asyncio
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from app import errors
from app.api.answers import UNCACHED, JsonLine, UsageLine, UsageReport
from app.api.files.routes import EMPTY_IS_ABSENT, Authorise, WorkspaceId
from app.api.openapi.answers import ADMIN_OR_KEY, answers, json_answer
from app.commit.usage import Amount, UsageByDay
from app.errors import RequestError
from app.kinds import Kind

DAYS_MAX: Final = 400
"""The most days in one request."""

DAYS_DEFAULT: Final = 31

Day = Annotated[datetime.date | None, EMPTY_IS_ABSENT]
_LINE: Final = {"workspace_id": 1, "date": "2026-09-21", "events": 120, "logs": 0, "snapshots": 0}
_MONTH: Final = {
    "from": "2026-09-01",
    "to": "2026-09-30",
    "usage": [_LINE | {"rows": 120, "bytes": 20480}],
}
_ANSWERS: Final = answers(
    json_answer("One line per workspace and day.", {"month": _MONTH}),
    errors.MalformedBatch,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.Overloaded,
)

UsageOf = Callable[[Sequence[str]], UsageByDay]


def usage_router(usage_of: UsageOf, authorise: Authorise, *, knows_bytes: bool) -> APIRouter:
    """usage_of: usage of the given days; called in a thread, since it reads past days from the disk.

    knows_bytes: whether bytes are counted, too; otherwise they are null.
    """
    router = APIRouter()

    @router.get(
        "/usage",
        tags=["operation"],
        operation_id="usage",
        summary="Accepted rows and bytes of each workspace, by day",
        response_class=JsonLine,
        responses=_ANSWERS,
        openapi_extra=ADMIN_OR_KEY,
    )
    async def usage(
        request: Request,
        response: Response,
        from_: Annotated[
            Day, Query(alias="from", description=f"The first day; default: {DAYS_DEFAULT} days up to `to`.")
        ] = None,
        to: Annotated[Day, Query(description="The last day; default: today.")] = None,
        workspace_id: WorkspaceId = None,
    ) -> UsageReport:
        """Equals the rows in the files, even after kills and restarts, and is kept when retention removes
        files.

        Days are UTC days of receipt.
        """
        response.headers.update(UNCACHED)
        workspace_id = authorise(request.scope).narrow(workspace_id)
        last = to or datetime.datetime.now(datetime.UTC).date()
        first = from_ or datetime.date.fromordinal(max(last.toordinal() - DAYS_DEFAULT + 1, 1))
        if not 0 <= (last - first).days < DAYS_MAX:
            raise RequestError(
                f"`from` must not be after `to`, and there may be at most {DAYS_MAX} days between them.",
                code="invalid_parameter",
            )
        asked = [
            (first + datetime.timedelta(days=each)).isoformat() for each in range((last - first).days + 1)
        ]
        found = await asyncio.to_thread(usage_of, asked)
        lines = [line for day in asked if day in found for line in usage_lines(day, found[day], workspace_id)]
        if not knows_bytes:
            for line in lines:
                line.bytes = None
        return UsageReport(first=asked[0], to=asked[-1], usage=lines)

    return router


def usage_lines(
    day: str, amounts: Mapping[tuple[int, Kind], Amount], workspace_id: int | None
) -> list[UsageLine]:
    """One line per workspace: rows of each kind, and all rows and bytes."""
    workspaces: dict[int, dict[Kind, Amount]] = {}
    for (workspace, kind), amount in sorted(amounts.items()):
        if workspace_id is None or workspace == workspace_id:
            workspaces.setdefault(workspace, {})[kind] = amount
    return [
        UsageLine(
            workspace_id=workspace,
            date=day,
            **{kind.value: by_kind[kind].rows if kind in by_kind else 0 for kind in Kind},
            rows=sum(amount.rows for amount in by_kind.values()),
            bytes=sum(amount.bytes for amount in by_kind.values()),
        )
        for workspace, by_kind in workspaces.items()
    ]
