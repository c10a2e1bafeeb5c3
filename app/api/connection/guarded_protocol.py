"""uvicorn's HTTP protocol with additional limits, strict parsing, and deadlines for every connection."""

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.connection.closing_transport import ClosingTransport
from app.api.connection.raw_queries import encoded_line, line_starts
from app.api.connection.seats import STANDING

HEADERS_MAX: Final = 128
"""Header lines of one request."""

URL_BYTES_MAX: Final = 8 << 10

LINGER_S: Final = 2.0
"""How long the rest of a refused body is read and dropped, so that the client can read the answer."""

LINGER_BYTES_MAX: Final = 64 << 20
"""How much of it is read."""

FRAMING_FACTOR: Final = 8
"""A one-byte chunk takes six bytes: a body that takes more than this many times its size is mostly chunk
extensions."""

RESERVED: Final = (b"/health", b"/ready", b"/metrics", b"/status")
"""Calls that are answered even when all connections are in use, for monitoring."""

WATCHED: Final = ("/query", "/tail")
"""Calls that may take long, and are cancelled when their client closes the connection, even only half of
it."""

_SLASH: Final = re.compile(rb"%2f", re.IGNORECASE)


class ConnectionPolicy(msgspec.Struct, frozen=True):
    """max_header_bytes: request line and headers. request_timeout_s: from a request's first byte until it has
    arrived completely; also for a new connection to begin a request, and for a client to read a part of its
    answer. keep_alive_s: between two requests. address_connections_max: connections of one address.
    """

    max_header_bytes: int = 32 << 10
    request_timeout_s: float = 30.0
    keep_alive_s: float = 75.0
    address_connections_max: int = 5_000


class HeadRefused(Exception):
    """Stops the parsing of a head."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection. refuse: a complete answer, as bytes, to a refused head, by status.

    deadline: when `expired` must be called, by the loop's clock; None while nothing is waited for.
    """

    def __init__(
        self,
        policy: ConnectionPolicy,
        refuse: Callable[[int], bytes],
        full: Any,
        *args: Any,
        **more: Any,
    ) -> None:
        """full: the ASGI application that answers when too many connections are open."""
        super().__init__(*args, **more)
        self._policy = policy
        self._refuse = refuse
        self._usual, self._full = self.app, full
        self.limit_concurrency = None
        self.seat = STANDING
        self._real: Any = None
        self._in_head = True
        self._in_line = False  # whether a part of a request line has come
        self._whole = True  # whether the last request has arrived whole
        self._head_bytes = self._header_bytes = 0
        self._body_bytes = self._wire_bytes = 0
        self._status = 400
        self._closing = False
        self._dropped = 0
        self.deadline: float | None = None

    # --- what the transport calls -------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._real = transport
        super().connection_made(ClosingTransport(transport, self._finish))  # type: ignore[arg-type]
        self._wait(self._policy.request_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self.seat.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._dropped += len(data)
            if self._dropped > LINGER_BYTES_MAX:
                self._end()
            return
        size = len(data)
        self._wire_bytes += size
        if data.isascii():
            super().data_received(data)
        else:
            data = self._take_beyond_ascii(data)
        if self._closing:
            return
        if not self._in_head:
            # The first piece may begin with the head itself.
            allowed = FRAMING_FACTOR * self._body_bytes + 2 * self._policy.max_header_bytes
            if not self._whole and self._wire_bytes > allowed:
                self.send_400_response("")
            return
        if self.deadline is None:
            self._wait(self._policy.request_timeout_s)
        # The URL is known up to the end of the data as long as it has not ended.
        self._in_line = not self._whole and data.endswith(self.url[-len(data) :])
        self._head_bytes += size
        if self._head_bytes > self._policy.max_header_bytes:
            self._status = 431
            self.send_400_response("")

    def _take_beyond_ascii(self, data: bytes) -> bytes:
        """Feeds the parser so that it stops where a request line may begin: whether one does is known then.

        Returns what was fed last.
        """
        fed, end = b"", 0
        for start in (0, *line_starts(data, 1)):
            if start < end or self._closing:
                continue
            if start > end:
                fed, end = data[end:start], start
                super().data_received(fed)
            if self._closing or not (self._whole or (self._in_head and self._in_line and not start)):
                continue
            fed, end = encoded_line(data, start, in_query=not self._whole and b"?" in self.url)
            super().data_received(fed)
        if end < len(data) and not self._closing:
            fed = data[end:]
            super().data_received(fed)
        return fed

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """A client may close its sending side when it has sent everything: it still gets its answers."""
        if self._closing or self.cycle is None or not self._whole or self.scheme == "https":
            return None
        last = self.pipeline[0][0] if self.pipeline else self.cycle
        if last.response_complete or last.scope["path"].rstrip("/") in WATCHED:
            return None
        last.keep_alive = False
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait(self._policy.request_timeout_s)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._closing:
            self.deadline = None

    # --- what the parser calls ----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._whole = True, False
        self._head_bytes = self._header_bytes = self._wire_bytes = 0
        self._wait(self._policy.request_timeout_s)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > URL_BYTES_MAX:
            self._give_up(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self._policy.max_header_bytes:
            self._give_up(431)
        if not self._in_head:
            return  # a trailer: counted, and not taken for a header
        if len(self.headers) == HEADERS_MAX:
            self._give_up(431)
        value = value.strip(b" \t")
        if name.lower() == b"transfer-encoding" and value.lower() != b"chunked":
            self._give_up(501)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._give_up(505)
        names = [name for name, _ in self.headers]
        hosts = names.count(b"host")
        if hosts > 1 or (version == "1.1" and not hosts):
            self._give_up(400)
        if version == "1.0" and b"transfer-encoding" in names:
            self._give_up(400)
        self._in_head = False
        self._head_bytes = self._body_bytes = 0
        self.deadline = None
        self.app = self._full if self._is_full() else self._usual
        super().on_headers_complete()
        if _SLASH.search(self.scope["raw_path"]):
            # An escaped slash is a part of a name. The request's task has not begun.
            parts = _SLASH.split(self.scope["raw_path"])
            self.scope["path"] = "%2F".join(unquote(part.decode("ascii")) for part in parts)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._whole = True
        super().on_message_complete()

    # --- ends ---------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        more = bool(self.pipeline)
        super().on_response_complete()
        if not self._closing and not more and not self._in_head:
            # Whatever comes but a new request does not put this off.
            self._wait(self._policy.keep_alive_s if self._whole else self._policy.request_timeout_s)

    def send_400_response(self, msg: str) -> None:
        """Answers a request that cannot be parsed or is refused. The connection is closed."""
        if self._closing:
            return
        under_way = self.cycle is not None and not self.cycle.response_complete
        if under_way:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not (under_way and self.cycle.response_started):
            self._real.write(self._refuse(self._status))
        self._whole = False
        self._finish()

    def shutdown(self) -> None:
        if self._closing:
            self._end()
        super().shutdown()

    def expired(self) -> None:
        """Something did not arrive in time, or was not read. An idle connection is closed without an
        answer."""
        self.deadline = None
        if self._real.is_closing() or self.flow.write_paused:
            self._real.abort()
        elif self._closing:
            self._end()
        else:
            if self._in_head and self._head_bytes:
                self._real.write(self._refuse(408))
            self._end()

    def _finish(self) -> None:
        """Closes; a client that is still sending would lose its answer by an immediate close: see
        LINGER_S."""
        if self._closing:
            return
        self._closing = True
        if self._whole or self._real.is_closing():
            self._end()
            return
        if self._real.can_write_eof():
            self._real.write_eof()
        self.flow.resume_reading()
        self._wait(LINGER_S)

    def _end(self) -> None:
        """Anything that the client has not read by then is discarded."""
        self._closing = True
        self._real.close()
        self._wait(self._policy.request_timeout_s)

    def _wait(self, seconds: float) -> None:
        self.deadline = self.loop.time() + seconds

    def _give_up(self, status: int) -> None:
        self._status = status
        raise HeadRefused

    def _is_full(self) -> bool:
        return self.seat.is_surplus and self.url.split(b"?")[0] not in RESERVED
