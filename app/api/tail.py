"""GET /tail: rows as they are accepted, as server-sent events.

A row is an event without a name whose data is JSON. A client that reads too slowly misses rows, and gets an
event `missed` with their number; ingest never waits for listeners.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from starlette.types import Receive, Scope, Send

from app.api.admin_auth import Access
from app.api.query import query_values
from app.api.sql import workspace_of
from app.api.watched_rows import RowFilter, parse_filter, shown_rows
from app.commit.tap import Listener, Tap, TooManyListeners, Watched
from app.errors import NotFound, Overloaded

TICK_S: Final = 0.5
"""How often a stop of the service is noticed."""

STILL_HERE_TICKS: Final = 30
"""After this many ticks without a row, a comment is sent, so that proxies keep the connection open."""

RETRY_AFTER_S: Final = 5

HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
)


class TailEndpoint:
    """ASGI endpoint. tap: None if rows cannot be watched, for the reason `absent`."""

    def __init__(
        self,
        tap: Tap | None,
        absent: str,
        authorise: Callable[[Scope], Access],
        is_ending: Callable[[], bool],
    ) -> None:
        self._tap = tap
        self._absent = absent
        self._authorise = authorise
        self._is_ending = is_ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        access = self._authorise(scope)
        if self._tap is None:
            raise NotFound(self._absent, code="tail_not_available")
        query_string = scope["query_string"]
        workspace_id = access.narrow(workspace_of(query_values(query_string, b"workspace_id")))
        wanted = parse_filter(query_string)
        try:
            listener = self._tap.listen(workspace_id)
        except TooManyListeners:
            raise Overloaded(
                "There are as many listeners as query.max_listeners allows; try again later.",
                retry_after_s=RETRY_AFTER_S,
                code="too_many_listeners",
            ) from None
        leaving = asyncio.ensure_future(_until_client_leaves(receive))
        leaving.add_done_callback(lambda _: listener.wake())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            await send(_body(b": rows follow as they are accepted\n\n"))
            await self._show(listener, wanted, send, leaving)
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._tap.leave(listener)
            leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving

    async def _show(
        self, listener: Listener, wanted: RowFilter, send: Send, leaving: "asyncio.Future[None]"
    ) -> None:
        quiet = 0
        while not leaving.done() and not self._is_ending():
            taken, missed = await listener.take(TICK_S)
            text = await asyncio.to_thread(_events, taken, listener.workspace_id, wanted) if taken else b""
            if missed:
                text += b'event: missed\ndata: {"rows":%d}\n\n' % missed
            quiet += 1
            if not text and quiet >= STILL_HERE_TICKS:
                text = b": still here\n\n"
            if text:
                quiet = 0
                await send(_body(text))


def _events(taken: Sequence[Watched], workspace_id: int | None, wanted: RowFilter) -> bytes:
    return b"".join(
        b"data: %s\n\n" % row for watched in taken for row in shown_rows(watched, workspace_id, wanted)
    )


def _body(text: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": text, "more_body": True}


async def _until_client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
