"""GET /query: an SQL editor, and the answer as a table and a plot. The query is part of the URL."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from html import escape
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import pyarrow as pa
from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Scope

from app.api.admin_auth import Access
from app.api.error_responses import error_response
from app.api.headers import header
from app.api.pages.cells import cell, plain_text
from app.api.pages.chart import chart
from app.api.pages.shell import Viewer, page_response, render_page, viewer_of
from app.api.pages.words import counted
from app.api.query import query_values
from app.api.sql import FORMS, SQL_BYTES_MAX, AnswerSize, Ask, date_of, workspace_of
from app.errors import BodyTooLarge, RequestError

ROWS_SHOWN_MAX: Final = 500
COLUMNS_SHOWN_MAX: Final = 100

ANSWER_BYTES_MAX: Final = 8 << 20
"""Rows of an answer that a page reads; a download has all."""

EXAMPLES: Final = (
    "SELECT event_name, count(*) AS n FROM events GROUP BY ALL ORDER BY n DESC",
    "SELECT timestamp::DATE AS day, count(*) AS n FROM events GROUP BY ALL ORDER BY day",
    "SELECT timestamp, level, service, payload->>'message' AS message FROM logs ORDER BY ALL DESC LIMIT 50",
    "SELECT * FROM events ORDER BY batch_timestamp DESC LIMIT 20",
)


class Question(msgspec.Struct, frozen=True):
    """A query as given in the URL. workspace_id: None for all that may be seen."""

    sql: str = ""
    workspace_id: int | None = None
    since: str | None = None
    until: str | None = None

    def url(self, path: str, **more: str) -> str:
        query = {
            "sql": self.sql or None,
            "workspace_id": self.workspace_id,
            "since": self.since,
            "until": self.until,
            **more,
        }
        return path + "?" + urlencode({name: value for name, value in query.items() if value is not None})


class Result(msgspec.Struct, frozen=True):
    """rows: the rows shown. count: of all rows. is_cut: whether some are not shown."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]
    count: int
    is_cut: bool


def query_page_router(ask: Ask | None, absent: str, authorise: Callable[[Scope], Access]) -> APIRouter:
    """ask: None if queries are not answered, for the reason `absent`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/query", include_in_schema=False)
    async def query(request: Request) -> Response:
        access = authorise(request.scope)
        viewer = viewer_of(request.scope, access)
        question, status, answer = Question(), 200, ""
        try:
            question = _question(request.scope["query_string"], access)
            if ask is None:
                answer = f'<div class="notice">{escape(absent)}</div>'
            elif question.sql.strip() and not _is_led_here(request.scope):
                answer = await _answer(ask, question)
            elif question.sql.strip():
                answer = '<p class="soft">This query came with the link that led here: “Run” runs it.</p>'
        except RequestError as error:
            status = error_response(error, "").status
            said = f"The query failed.<pre>{escape(error.message)}</pre>"
            answer = f'<div class="notice bad" role="alert">{said}</div>'
        return page_response(render_query_page(question, answer, viewer), status)

    return router


def _is_led_here(scope: Scope) -> bool:
    """Whether a page of another origin led the browser here: its query is not run automatically."""
    return header(scope["headers"], b"sec-fetch-site") in (b"cross-site", b"same-site")


def _question(query_string: bytes, access: Access) -> Question:
    """Raises RequestError, Forbidden."""
    values = query_values(query_string, b"sql")
    if values and len(values[-1]) > SQL_BYTES_MAX:
        raise BodyTooLarge(f"A query may have at most {SQL_BYTES_MAX} bytes.")
    return Question(
        values[-1].decode("utf-8", "replace") if values else "",
        access.narrow(workspace_of(query_values(query_string, b"workspace_id"))),
        date_of(query_string, "since"),
        date_of(query_string, "until"),
    )


async def _answer(ask: Ask, question: Question) -> str:
    """HTML of the answer. Raises RequestError."""
    asked = ask(question.sql, "arrow", question.workspace_id, question.since, question.until)
    count, data = await _read(asked)
    result = await asyncio.to_thread(read_result, data, count)
    return render_result(question, result)


async def _read(
    asked: AbstractAsyncContextManager[tuple[AnswerSize, AsyncIterator[bytes]]],
) -> tuple[int, bytes]:
    data = bytearray()
    async with asked as (head, chunks):
        async for chunk in chunks:
            data += chunk
            if len(data) > ANSWER_BYTES_MAX:
                break
        return head.rows, bytes(data)


def read_result(data: bytes, count: int) -> Result:
    """The first rows of an Arrow stream, which may be incomplete. count: how many it has in total."""
    names: list[str] = []
    rows: list[tuple[Any, ...]] = []
    try:
        with pa.ipc.open_stream(pa.BufferReader(data)) as stream:
            names = list(stream.schema.names)
            for batch in stream:
                part = batch.slice(0, ROWS_SHOWN_MAX - len(rows))
                columns = [column.to_pylist() for column in part.columns[:COLUMNS_SHOWN_MAX]]
                rows += zip(*columns, strict=True)
                if len(rows) >= ROWS_SHOWN_MAX:
                    break
    except (pa.ArrowInvalid, OSError):
        pass  # it was cut at ANSWER_BYTES_MAX
    shown = names[:COLUMNS_SHOWN_MAX]
    return Result(shown, rows, count, len(rows) < count or len(shown) < len(names))


def render_result(question: Question, result: Result) -> str:
    head = "".join(
        f"<th{_head_class(place, result.rows)}>{escape(name)}</th>" for place, name in enumerate(result.names)
    )
    rows = (
        "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in result.rows)
        or f'<tr><td class="empty" colspan="{len(result.names)}">No rows.</td></tr>'
    )
    cut = f" The first {len(result.rows):,} rows are shown; a download has all." if result.is_cut else ""
    return f"""<h2>{counted(result.count, "row")}</h2>
{_downloads(question)}
<p class="soft small" role="status">{cut}</p>
{chart(result.names, result.rows)}
<div class="scroll" tabindex="0" role="region" aria-label="Result"><table id="result">
<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"""


def _head_class(place: int, rows: Sequence[Sequence[Any]]) -> str:
    value = next((row[place] for row in rows if row[place] is not None), None)
    return ' class="number"' if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _cell(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="number">{cell(plain_text(value))}</td>'
    return (
        '<td class="soft">null</td>' if value is None else f'<td class="text">{cell(plain_text(value))}</td>'
    )


def _downloads(question: Question) -> str:
    bare = msgspec.structs.replace(question, sql="")
    buttons = "".join(
        f'<button formaction="{escape(bare.url("/query", format=form))}">{name}</button>'
        for form, name in zip(FORMS, ("JSON", "NDJSON", "CSV", "Arrow"), strict=True)
    )
    return f"""<form class="row" action="/query" method="post"><span class="soft small">Download</span>
<input type="hidden" name="sql" value="{escape(question.sql)}">{buttons}</form>"""


def render_query_page(question: Question, answer: str, viewer: Viewer) -> str:
    workspace = (
        f"""<label>Workspace <input name="workspace_id" inputmode="numeric" pattern="[0-9]*" size="10"
  placeholder="all" value="{"" if question.workspace_id is None else question.workspace_id}"></label>"""
        if viewer.workspace_id is None
        else ""
    )
    examples = "".join(
        f'<li><a href="{escape(Question(sql).url("/query"))}"><code>{escape(sql)}</code></a></li>'
        for sql in EXAMPLES
    )
    return render_page(
        "Query",
        f"""<h1>Query</h1>
<p class="soft">One <code>SELECT</code> in DuckDB's SQL over <code>events</code>, <code>logs</code> and
<code>snapshots</code>: the rows in files and those not in files yet, each exactly once.
Ctrl+Enter runs it.</p>
<form action="/query" method="get">
<label>SQL <textarea name="sql" rows="5" spellcheck="false" data-send
  required>{escape(question.sql)}</textarea></label>
<div class="row form-row">
{workspace}
<label>Received since <input type="date" name="since" value="{escape(question.since or "")}"></label>
<label>until <input type="date" name="until" value="{escape(question.until or "")}"></label>
<button class="first">Run</button>
</div>
</form>
{answer}
<h2>For example</h2>
<ul class="examples">{examples}</ul>
<p class="soft small">From a program: <code>POST /query</code>, see <a href="/docs">API</a>.</p>""",
        viewer,
        "/query",
        scripted=True,
    )
