"""GET /: the overview, with commands to paste."""

import asyncio
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Scope

from app.api.admin_auth import Access
from app.api.answers import RowAccount, Status
from app.api.headers import header
from app.api.pages.history import History, Hour, MetricsReading
from app.api.pages.plots import line_plot
from app.api.pages.refused_rows import refused_table
from app.api.pages.shell import Viewer, page_response, render_page, viewer_of
from app.api.pages.tables import TableColumn, render_table
from app.api.pages.words import human_count, human_seconds, human_size
from app.commit.recent_refusals import RecentRefusals
from app.errors import Overloaded

PATH: Final = "/overview"
"""The path that serves a browser's requests for `/`."""

REFRESH_S: Final = 5
WORKSPACES_SHOWN_MAX: Final = 100
REASONS_SHOWN_MAX: Final = 30
REFUSED_SHOWN_MAX: Final = 10

_HOST: Final = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}")


class OverviewSources(msgspec.Struct, frozen=True):
    """account: as in GET /status. reasons: why batches are refused. is_secure: whether the browser uses
    TLS."""

    history: History
    refusals: RecentRefusals
    account: Callable[[], Status]
    reasons: Callable[[], Sequence[str]]
    is_secure: Callable[[Scope], bool]


def overview_router(sources: OverviewSources, authorise: Callable[[Scope], Access]) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get(PATH, include_in_schema=False)
    async def overview(request: Request) -> Response:
        viewer = viewer_of(request.scope, authorise(request.scope))
        base = base_url(request.scope, sources.is_secure)
        return page_response(await asyncio.to_thread(render_overview, sources, viewer, base))

    return router


def base_url(scope: Scope, is_secure: Callable[[Scope], bool]) -> str:
    """The service's URL as the browser knows it. An invalid Host header is not repeated."""
    host = (header(scope["headers"], b"host") or b"").decode("latin-1")
    return (
        f"{'https' if is_secure(scope) else 'http'}://{host if _HOST.fullmatch(host) else 'localhost:8080'}"
    )


def render_overview(sources: OverviewSources, viewer: Viewer, base: str) -> str:
    workspace = None if viewer.workspace_id is None else str(viewer.workspace_id)
    reading = sources.history.read()
    hour = sources.history.until(reading)
    try:
        account: Status | None = sources.account()
    except Overloaded:
        account = None
    refused = sources.refusals.last(viewer.workspace_id, REFUSED_SHOWN_MAX)
    scope = "all workspaces" if workspace is None else f"workspace {workspace}"
    body = f"""<h1>Overview</h1>
<p class="soft">Rows of {scope} since this service was started.
Rows are counted once they are durable.</p>
<div id="problems" data-live>{_problems(sources, account, viewer)}</div>
<dl class="figures" id="figures" data-live>{_figures(reading, hour, account, viewer, workspace)}</dl>
<h2>The last hour</h2>
<div class="plots" id="plots" data-live>{_plots(hour, workspace)}</div>
<div id="tables" data-live>
{_workspaces(reading, hour, account, viewer)}
<h2>Refused, by reason</h2>
{_reasons(reading, workspace)}
<h2>Latest refusals</h2>
{refused_table(refused)}
<p class="small"><a href="/live">More of these, and rows as they arrive</a></p>
</div>
<h2>Send, query, fetch</h2>
{_lines(base)}"""
    return render_page("Overview", body, viewer, "/", refresh_s=REFRESH_S)


def _problems(sources: OverviewSources, account: Status | None, viewer: Viewer) -> str:
    said = [f"Batches are refused now: {reason}." for reason in sources.reasons()]
    if viewer.workspace_id is None and account is not None:
        if account.problem:
            said.append(f"Files cannot be written: {account.problem}. Rows are safe in the journal.")
        said += [
            f"Files of workspace {each.workspace_id}, {each.kind} of {each.date} cannot be "
            f"written: {each.error}"
            for each in account.failing_partitions[:REASONS_SHOWN_MAX]
        ]
    return "".join(f'<div class="notice bad" role="alert">{escape(each)}</div>' for each in said)


def _rows_of(account: Status | None, workspace_id: int | None) -> list[RowAccount]:
    rows = account.rows if account is not None else []
    return [line for line in rows if workspace_id is None or line.workspace_id == workspace_id]


def _figures(
    reading: MetricsReading, hour: Hour, account: Status | None, viewer: Viewer, workspace: str | None
) -> str:
    lines = _rows_of(account, viewer.workspace_id)
    counts = reading.counts(workspace)
    figures = [
        ("rows-per-second", "Rows per second", human_count(hour.rows_per_second(workspace))),
        ("rows-accepted", "Rows accepted", f"{counts.rows:,.0f}"),
        ("bytes-accepted", "Bytes accepted", human_size(counts.bytes)),
        ("refused", "Refused", f"{counts.refused:,.0f}"),
        ("rows-in-files", "Rows in files", f"{sum(line.published for line in lines):,}"),
        ("rows-waiting", "Rows not in files yet", f"{sum(line.buffered for line in lines):,}"),
    ]
    if workspace is None:
        again = sum(reading.told_to_come_again.values())
        figures += [
            ("journal-age", "Oldest row not in a file", human_seconds(reading.oldest_row_s)),
            ("journal-bytes", "Journal", human_size(reading.journal_bytes)),
            ("files", "Files", f"{account.files if account is not None else 0:,}"),
            ("come-again", "Told to retry", f"{again:,.0f}"),
        ]
    return "".join(
        f'<div><dt>{label}</dt><dd data-figure="{name}">{value}</dd></div>' for name, label, value in figures
    )


def _plots(hour: Hour, workspace: str | None) -> str:
    plots = [
        ("Rows per second", hour.rates(lambda each: each.counts(workspace).rows), human_count),
        ("Bytes per second", hour.rates(lambda each: each.counts(workspace).bytes), human_size),
        ("Refusals per second", hour.rates(lambda each: each.counts(workspace).refused), human_count),
    ]
    if workspace is None:
        plots.append(("Journal", hour.levels(lambda each: each.journal_bytes), human_size))
    return "".join(
        f"<figure><figcaption>{label}</figcaption>{_plot(points, words, label)}</figure>"
        for label, points, words in plots
    )


def _plot(points: Sequence[tuple[float, float]], words: Callable[[float], str], label: str) -> str:
    if not points:
        return '<p class="soft small">Nothing to show yet.</p>'
    return line_plot(points, (f"{human_seconds(-points[0][0])} ago", "now"), words, label)


def _workspaces(reading: MetricsReading, hour: Hour, account: Status | None, viewer: Viewer) -> str:
    if viewer.workspace_id is not None:
        return ""
    totals: dict[int, list[int]] = {}
    for line in _rows_of(account, None):
        total = totals.setdefault(line.workspace_id, [0, 0, 0])
        for place, number in enumerate((line.accepted, line.published, line.buffered)):
            total[place] += number
    for label in reading.of:
        if label.isdigit():  # one of which everything was refused has no account
            totals.setdefault(int(label), [0, 0, 0])
    ordered = sorted(totals.items(), key=lambda pair: (-pair[1][0], pair[0]))
    columns = [
        TableColumn("Workspace"),
        *(
            TableColumn(label, "number")
            for label in ("Rows per second", "All rows", "In files", "Waiting", "Refused")
        ),
    ]
    rows = [
        (
            f'<a href="/files?workspace_id={workspace}">{workspace}</a>',
            human_count(hour.rows_per_second(str(workspace))),
            *(f"{number:,}" for number in numbers),
            f"{reading.counts(str(workspace)).refused:,.0f}",
        )
        for workspace, numbers in ordered[:WORKSPACES_SHOWN_MAX]
    ]
    more = len(ordered) - len(rows)
    behind = f'<p class="soft small">And {more:,} more that have sent fewer rows.</p>' if more > 0 else ""
    table = render_table(columns, rows, "No rows have been sent yet.", "Workspaces")
    return f"<h2>Workspaces</h2>{table}{behind}"


def _reasons(reading: MetricsReading, workspace: str | None) -> str:
    of_all = workspace is None
    found = [
        (of, reason, field, count)
        for (of, reason, field), count in reading.refusals.items()
        if of_all or of == workspace
    ]
    if of_all:
        found += [("", reason, "", count) for reason, count in reading.told_to_come_again.items() if count]
    found.sort(key=lambda line: -line[3])
    columns = (
        TableColumn("Reason"),
        TableColumn("Field"),
        TableColumn("Workspace", "number"),
        TableColumn("Refused", "number"),
    )
    rows = [
        (
            f"<code>{escape(reason)}</code>",
            f"<code>{escape(field)}</code>" if field else '<span class="soft">the whole batch</span>',
            escape(of or "any"),
            f"{count:,.0f}",
        )
        for of, reason, field, count in found[:REASONS_SHOWN_MAX]
    ]
    return render_table(columns, rows, "Nothing was refused.", "Refused, by reason")


def _lines(base: str) -> str:
    key = '-H "Authorization: Bearer $KEY"'
    lines = (
        ("The key of your workspace", "KEY=the 32 characters of your key"),
        (
            "An event; the 202 is a receipt",
            f"curl -sS {base}/v1/events {key} -H 'Content-Type: application/json' \\\n"
            '  -d \'{"type": "track", "event": "signed_up", "user_id": "u-1", "plan": "pro"}\'',
        ),
        (
            "A line of a log",
            f"curl -sS {base}/v1/logs {key} -H 'Content-Type: application/json' \\\n"
            '  -d \'{"level": "error", "message": "disk full", "service": "api"}\'',
        ),
        (
            "Query rows, including those that are not in files yet",
            f"curl -sS {base}/query {key} \\\n"
            '  -d "SELECT event_name, count(*) AS n FROM events GROUP BY ALL ORDER BY n DESC"',
        ),
        (
            "Write everything to files now, and list the files",
            f"curl -sS -X POST {base}/flush {key}\ncurl -sS {base}/files {key}",
        ),
        ("Load a file", f"parquet-sink load events.ndjson --url {base} --key $KEY"),
    )
    shown = "".join(f"<h3>{escape(title)}</h3><pre>{escape(line)}</pre>" for title, line in lines)
    return (
        f"{shown}<p>Segment, OpenTelemetry, Loki, Splunk, Elasticsearch, Amplitude, PostHog, Mixpanel and "
        f"Firehose clients: set <code>{escape(base)}</code> as their host and use the key as theirs. For "
        'every call with a command to paste, see <a href="/docs">API</a>.</p>'
    )
