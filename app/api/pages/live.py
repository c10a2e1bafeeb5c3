"""GET /live: rows as they are accepted, and the latest refusals, which show why a row is missing."""

from collections.abc import Callable
from html import escape
from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Scope

from app.api.admin_auth import Access
from app.api.pages.refused_rows import refused_table
from app.api.pages.shell import Viewer, page_response, render_page, viewer_of
from app.api.pages.tables import TableColumn, render_table
from app.api.query import query_values
from app.api.sql import workspace_of
from app.api.watched_rows import parse_filter
from app.commit.recent_refusals import RecentRefusal, RecentRefusals
from app.kinds import Kind

REFRESH_S: Final = 3

FILTERS: Final = ("kind", "event_name", "level", "service", "contains")
"""The filters of GET /tail that the page has a field for."""

COLUMNS: Final = (
    TableColumn("Received (UTC)", "time"),
    TableColumn("Workspace", "number"),
    TableColumn("Kind"),
    TableColumn("Row", "path"),
    TableColumn("Payload", "path"),
)

NO_MATCH: Final = "No matching refusals since the service was started."

WAITING: Final = (
    'Rows appear here as they are accepted. This needs JavaScript; without it, <a href="/query">Query</a> '
    "shows the newest rows, and <code>parquet-sink tail</code> follows them."
)


def live_router(
    refusals: RecentRefusals, not_watched: str, authorise: Callable[[Scope], Access]
) -> APIRouter:
    """not_watched: why rows cannot be watched here; empty if they can."""
    router = APIRouter(include_in_schema=False)

    @router.get("/live", include_in_schema=False)
    async def live(request: Request) -> Response:
        access = authorise(request.scope)
        query_string = request.scope["query_string"]
        workspace_id = access.narrow(workspace_of(query_values(query_string, b"workspace_id")))
        wanted = {name: _last(query_string, name) for name in FILTERS}
        parse_filter(urlencode(_given(wanted)).encode())  # says what is wrong with them
        refused = _passing(refusals.last(workspace_id), wanted)
        page = render_live_page(refused, wanted, workspace_id, not_watched, viewer_of(request.scope, access))
        return page_response(page)

    return router


def _last(query_string: bytes, name: str) -> str:
    values = query_values(query_string, name.encode())
    return values[-1].decode("utf-8", "replace").strip() if values else ""


def _given(wanted: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in wanted.items() if value}


def _passing(refused: list[RecentRefusal], wanted: dict[str, str]) -> list[RecentRefusal]:
    """Refused rows can be filtered only by kind and by their beginning."""
    words = [wanted[name] for name in FILTERS[1:] if wanted[name]]
    return [
        each
        for each in refused
        if (not wanted["kind"] or each.kind in ("", *wanted["kind"].split(",")))
        and (not each.text or all(word in each.text for word in words))
    ]


def render_live_page(
    refused: list[RecentRefusal],
    wanted: dict[str, str],
    workspace_id: int | None,
    not_watched: str,
    viewer: Viewer,
) -> str:
    tail = {**_given(wanted), **({} if workspace_id is None else {"workspace_id": str(workspace_id)})}
    url = "/tail" + (f"?{urlencode(tail)}" if tail else "")
    table = render_table(COLUMNS, (), WAITING, "Rows as they are accepted")
    if not not_watched:
        table = table.replace("<table ", f'<table data-tail="{escape(url)}" ', 1)
    state = escape(not_watched) or "&nbsp;"
    return render_page(
        "Live",
        f"""<h1>Live</h1>
<p class="soft">Rows that arrive now, and refusals with their reasons. A row that is in neither table
has not arrived here: check the client, its key and its host.</p>
{_form(wanted, workspace_id, viewer)}
<h2>Latest refusals</h2>
<div class="box" tabindex="0" role="region" aria-label="Latest refusals">
<div id="refused" data-live>{refused_table(refused, NO_MATCH)}</div></div>
<h2>Accepted</h2>
<p class="small"><span id="tail-state" role="status">{state}</span>
<button type="button" id="tail-pause" hidden>Pause</button></p>
{table}""",
        viewer,
        "/live",
        refresh_s=REFRESH_S,
    )


def _form(wanted: dict[str, str], workspace_id: int | None, viewer: Viewer) -> str:
    kinds = "".join(
        f"<option{' selected' if kind.value == wanted['kind'] else ''}>{kind.value}</option>" for kind in Kind
    )
    fields = "".join(
        f'<label>{label} <input name="{name}" size="14" value="{escape(wanted[name])}"></label>\n'
        for name, label in (
            ("event_name", "Event name"),
            ("level", "Level"),
            ("service", "Service"),
            ("contains", "Payload contains"),
        )
    )
    workspace = (
        f"""<label>Workspace <input name="workspace_id" inputmode="numeric" pattern="[0-9]*" size="10"
  placeholder="all" value="{"" if workspace_id is None else workspace_id}"></label>"""
        if viewer.workspace_id is None
        else ""
    )
    return f"""<form class="row" action="/live" method="get">
{workspace}
<label>Kind <select name="kind"><option value="">all</option>{kinds}</select></label>
{fields}<button>Filter</button> <a href="/live">Clear</a>
</form>"""
