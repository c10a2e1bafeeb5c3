"""uvicorn's HTTP protocol with what it lacks: limits for the head of a request, in bytes and in time."""

from collections.abc import Callable
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class ConnectionPolicy(msgspec.Struct, frozen=True):
    """max_header_bytes: request line and headers. request_timeout_s: from a request's first byte until it
    has arrived whole; a new connection has as long to begin one. keep_alive_s: between two requests.
    """

    max_header_bytes: int = 32 << 10
    request_timeout_s: float = 30.0
    keep_alive_s: float = 75.0


class HeadTooLarge(Exception):
    """Ends the parsing of a head."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection. refuse: a whole answer, as bytes, to a head that is not read, by status 400, 408, 431.

    deadline: when `expired` is to be called, by the loop's clock; None while nothing is waited for.
    """

    def __init__(
        self, policy: ConnectionPolicy, refuse: Callable[[int], bytes], *args: Any, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._policy = policy
        self._refuse = refuse
        self._in_head = True
        self._head_bytes = 0
        self._header_bytes = 0
        self._too_large = False
        self.deadline: float | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.deadline = self.loop.time() + self._policy.request_timeout_s

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head:
            return
        if self.deadline is None:
            self.deadline = self.loop.time() + self._policy.request_timeout_s
        self._head_bytes += len(data)
        if self._head_bytes > self._policy.max_header_bytes and not self.transport.is_closing():
            self._too_large = True
            self.send_400_response("")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._header_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self._policy.max_header_bytes:
            self._too_large = True
            raise HeadTooLarge

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self.deadline = None
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed, or is too large. The connection ends."""
        self.transport.write(self._refuse(431 if self._too_large else 400))
        self.transport.close()

    def expired(self) -> None:
        """The head did not arrive in time. An idle connection is closed without a word."""
        self.deadline = None
        if self._head_bytes:
            self.transport.write(self._refuse(408))
        self.transport.close()
