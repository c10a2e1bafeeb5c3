"""POST /query: SQL over a workspace's rows, both those in files and those not in files yet."""

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from types import MappingProxyType
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import orjson
from starlette.types import Receive, Scope, Send

from app.api.admin_auth import Access
from app.api.api_keys import MAX_WORKSPACE_ID
from app.api.body import ClientDisconnected, body_timeout
from app.api.headers import header
from app.api.query import query_values
from app.errors import BodyTooLarge, NotFound, RequestError

SQL_BYTES_MAX: Final = 32 << 10

FORM_BY_MEDIA_TYPE: Final = MappingProxyType(
    {
        "application/vnd.apache.arrow.stream": "arrow",
        "application/x-ndjson": "ndjson",
        "application/ndjson": "ndjson",
        "application/jsonl": "ndjson",
        "application/jsonlines": "ndjson",
        "text/csv": "csv",
        "application/json": "json",
    }
)
"""Media types for the Accept header; the first of these that it names is used, else JSON."""

FORMS: Final = MappingProxyType(
    {
        "json": "application/json",
        "ndjson": "application/x-ndjson",
        "csv": "text/csv; charset=utf-8",
        "arrow": "application/vnd.apache.arrow.stream",
    }
)
"""Values of `?format=`, and the content type of each."""

FORM_MEDIA: Final = b"application/x-www-form-urlencoded"

Authorise = Callable[[Scope], Access]


class AnswerSize(Protocol):
    """The head of an answer: how many bytes and rows follow."""

    @property
    def bytes(self) -> int: ...
    @property
    def rows(self) -> int: ...


Ask = Callable[
    [str, str, int | None, str | None, str | None],
    AbstractAsyncContextManager[tuple[AnswerSize, AsyncIterator[bytes]]],
]
"""Takes SQL, an output format, a workspace (None for all), and the first and last date of receipt."""


class QueryEndpoint:
    """ASGI endpoint. ask: None if queries are not answered, for the reason `absent`."""

    def __init__(self, ask: Ask | None, absent: str, authorise: Authorise, timeout_s: float) -> None:
        self._ask = ask
        self._absent = absent
        self._authorise = authorise
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        access = self._authorise(scope)
        if self._ask is None:
            raise NotFound(self._absent, code="query_not_available")
        query_string = scope["query_string"]
        workspace_id = access.narrow(workspace_of(query_values(query_string, b"workspace_id")))
        since, until = (date_of(query_string, name) for name in ("since", "until"))
        form = _form(query_string, header(scope["headers"], b"accept") or b"")
        body = await _read_sql(receive, self._timeout_s)
        sql = sql_of(body, header(scope["headers"], b"content-type") or b"")
        saved = media_of(scope) == FORM_MEDIA
        answering = asyncio.ensure_future(
            self._answer(send, form, saved, self._ask(sql, form, workspace_id, since, until))
        )
        leaving = asyncio.ensure_future(_until_client_leaves(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ClientDisconnected
            answering.result()
        finally:
            for task in (answering, leaving):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    async def _answer(
        self,
        send: Send,
        form: str,
        saved: bool,
        asked: AbstractAsyncContextManager[tuple[AnswerSize, AsyncIterator[bytes]]],
    ) -> None:
        async with asked as (head, chunks):
            headers = [
                (b"content-type", FORMS[form].encode()),
                (b"content-length", b"%d" % head.bytes),
                (b"x-row-count", b"%d" % head.rows),
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
            ]
            if saved:  # a browser's form: a file to keep, not a page to go to
                name = f'attachment; filename="query.{form}"'
                headers.append((b"content-disposition", name.encode()))
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def media_of(scope: Scope) -> bytes:
    return _media(header(scope["headers"], b"content-type") or b"")


def _media(content_type: bytes) -> bytes:
    return content_type.partition(b";")[0].strip().lower()


def sql_of(body: bytes, content_type: bytes) -> str:
    """The query in a body: plain, as `{"sql": …}`, or as the field `sql` of a form.

    Raises RequestError.
    """
    media = _media(content_type)
    text = body.decode("utf-8", "replace").strip().removeprefix("\ufeff")
    if media == FORM_MEDIA and text.startswith("sql="):
        text = parse_qs(text).get("sql", [""])[0]
    elif media.endswith(b"json") or text.startswith("{"):
        text = _member(body)
    if not text.strip():
        raise RequestError(
            'There is no query in the body: send SQL as text, or as {"sql": "SELECT …"}.', code="no_sql"
        )
    return text


def _member(body: bytes) -> str:
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"The body is not valid JSON: {error}.", code="no_sql") from None
    sql = value if isinstance(value, str) else value.get("sql") if isinstance(value, dict) else None
    if not isinstance(sql, str):
        raise RequestError('A JSON body must look like {"sql": "SELECT …"}.', code="no_sql")
    return sql


async def _read_sql(receive: Receive, timeout_s: float) -> bytes:
    """A body that is too small to be charged."""
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(timeout_s):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnected
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > SQL_BYTES_MAX:
                    raise BodyTooLarge(f"A query may have at most {SQL_BYTES_MAX} bytes.")
    except TimeoutError:
        raise body_timeout(timeout_s) from None
    return bytes(body)


async def _until_client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _form(query_string: bytes, accept: bytes) -> str:
    wanted = query_values(query_string, b"format")
    if wanted:
        form = wanted[-1].decode("latin-1").lower()
        if form not in FORMS:
            raise _invalid("format", f"must be one of {', '.join(FORMS)}")
        return form
    types = (part.partition(";")[0].strip() for part in accept.decode("latin-1").lower().split(","))
    return next((FORM_BY_MEDIA_TYPE[each] for each in types if each in FORM_BY_MEDIA_TYPE), "json")


def _last(values: Sequence[bytes]) -> str:
    return values[-1].decode("latin-1").strip() if values else ""


def workspace_of(values: Sequence[bytes]) -> int | None:
    """The workspace named by the last value of a query parameter. Raises RequestError."""
    text = _last(values)
    if not text:
        return None
    if not text.isdigit() or not text.isascii() or int(text[:11]) > MAX_WORKSPACE_ID:
        raise _invalid("workspace_id", f"must be a number from 0 to {MAX_WORKSPACE_ID}")
    return int(text)


def date_of(query_string: bytes, name: str) -> str | None:
    """The date in a query parameter, YYYY-MM-DD. Raises RequestError."""
    text = _last(query_values(query_string, name.encode()))
    if not text:
        return None
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise _invalid(name, "must be a date such as 2026-03-01") from None


def _invalid(name: str, rule: str) -> RequestError:
    return RequestError(f"query parameter `{name}`: it {rule}.", code="invalid_parameter")
