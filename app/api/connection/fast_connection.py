"""One connection of the fast lane.

It reads heads within a limit and a deadline. A plain request's body is received into a buffer of its own and
submitted from here. If a request is anything else, it is passed on, with all its bytes, to uvicorn's own
protocol, and the connection stays there; so is a request that will be refused because of its head: the ASGI
route answers it. Requests are handled one at a time: bytes that arrive before the previous answer wait.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final

from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState

from app.api.body import body_timeout
from app.api.charge import Charge, due_at
from app.api.client_address import Client
from app.api.connection.guarded_protocol import LINGER_S, URL_BYTES_MAX, GuardedProtocol
from app.api.connection.lane_head import LaneHead
from app.api.connection.plain_heads import PlainHeads
from app.api.connection.rendering import VARIES, rendered
from app.api.connection.request_head import (
    HEAD_END,
    LINE_ENDS,
    has_bare_line_feed,
    without_upgrade,
)
from app.api.connection.seats import STANDING
from app.api.connection.shared import Shared
from app.api.error_responses import HttpAnswer
from app.api.ingest_request import answer_timed_out
from app.errors import Refused, RequestError
from app.submission import Answer, Body

PLAIN_START: Final = b"POST /"

WAITING_BYTES_MAX: Final = 64 << 10
"""Bytes of further requests that are kept while one is answered; above this, reading pauses."""


class Request:
    """One plain, admitted request, from its head to its answer.

    connection: where the answer goes; None once it is no longer waited for.
    submitted: from then on the commit thread answers, and the body counts as in flight until it does.
    """

    __slots__ = ("began", "charge", "client", "connection", "head", "length", "request_id", "submitted")

    def __init__(self, connection: "FastConnection", shared: Shared, head: LaneHead, client: Client) -> None:
        self.connection: FastConnection | None = connection
        self.head = head
        self.client = client
        self.length = head.plain.content_length
        self.charge = Charge(shared.parts.admission, head.credential.workspace_id, self.length)
        self.request_id = shared.parts.request_ids.of(head.plain.headers)
        self.began = time.perf_counter()
        self.submitted = False

    def __call__(self, answer: Answer) -> None:
        """The outcome, on the event loop."""
        self.reply(self.head.answer(answer, self.client, self.request_id))

    def reply(self, answer: HttpAnswer) -> None:
        self.release()
        if self.connection is not None:
            self.connection.answer(self, answer)

    def hand_back(self, body: Body) -> None:
        """The ASGI route must answer it."""
        self.release()
        if self.connection is not None:
            self.connection.hand_back(self, body)

    def release(self) -> None:
        self.charge.end()


class FastConnection(asyncio.BufferedProtocol):
    """deadline: when `expired` must be called, by the loop's clock; None while nothing is waited for."""

    def __init__(
        self,
        shared: Shared,
        connections_max: int | None,
        server_state: ServerState,
        loop: asyncio.AbstractEventLoop,
        refuse: Callable[[int], bytes],
        hand_over: Callable[[], GuardedProtocol],
    ) -> None:
        self._shared = shared
        self._connections_max = sys.maxsize if connections_max is None else connections_max
        self._seat = STANDING
        self._server_state = server_state
        self._loop = loop
        self._refuse = refuse
        self._hand_over = hand_over
        self._transport: asyncio.Transport
        self._is_tls = False
        self._client: Client = None
        self._request: Request | None = None
        self._body: bytearray | None = None
        self._filled = 0
        self._receiving_since = 0.0
        self._begun = False  # whether a part of the next request has come
        self._to_skip = 0
        self._waiting = b""
        self._reading_paused = False
        self._writing_paused = False
        self._goes_on = False  # whether `_go_on` will be called
        self._last_answer = False
        self._ended = False  # whether the client has closed its half
        self._refused = False  # whether a head was refused, and what comes is dropped
        self._heads = PlainHeads(shared.calls, server_state.tasks)
        self.deadline: float | None = None

    # --- what the transport calls -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport, self._client = transport, get_remote_addr(transport)
        beyond = len(self._server_state.connections) - self._connections_max
        self._seat = self._shared.seats.take(self._client, beyond)
        if self._seat is STANDING:
            transport.abort()  # each would take a descriptor that files need
            return
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # has what uvicorn uses of it
        self.deadline = self._loop.time() + self._shared.policy.request_timeout_s

    def connection_lost(self, error: Exception | None) -> None:
        self._server_state.connections.discard(self)
        self._seat.leave()
        request, self._request, self._body, self.deadline = self._request, None, None, None
        self._waiting = b""
        if request is not None:
            request.connection = None
            if not request.submitted:
                request.release()

    def get_buffer(self, sizehint: int) -> bytearray | memoryview:
        if self._body is not None:
            return memoryview(self._body)[self._filled :]
        return self._shared.view

    def buffer_updated(self, count: int) -> None:
        if self._body is not None:
            self._filled += count
            if self._filled == len(self._body):
                self._submit(self._body)
            elif self._request is not None and self._filled > self._request.charge.held:
                self._charge_more(self._request)
        elif self._refused:
            pass
        elif self._request is not None or self._writing_paused or self._goes_on:
            self._waiting += self._shared.received[:count]
            if len(self._waiting) > WAITING_BYTES_MAX:
                self._pause_reading()
        elif self._to_skip or self._waiting:
            skipped = min(self._to_skip, count)
            self._to_skip -= skipped
            data, self._waiting = self._waiting + self._shared.received[skipped:count], b""
            self._read(data, len(data))
        else:
            self._read(self._shared.received, count)

    def eof_received(self) -> bool:
        """A client may close its sending side when it has sent everything: it still gets its answer."""
        self._last_answer = not self._waiting.strip(LINE_ENDS)
        self._ended = True
        # Over TLS there is no such half: its end is the connection's.
        return not self._is_tls and self._request is not None and self._request.submitted

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._goes_on = True
        self._loop.call_soon(self._go_on)

    # --- what the server calls ----------------------------------------------------------------------------

    def shutdown(self) -> None:
        """The server stops: the current request is answered, then the connection is closed."""
        self._last_answer = True
        if self._request is None:
            self._close()

    def expired(self) -> None:
        """Something did not arrive in time: the request, the next request, or the disk's answer."""
        request, self.deadline = self._request, None
        if self._transport.is_closing():
            self._transport.abort()
        elif request is None:
            if self._begun and not self._refused:
                self._transport.write(self._refuse(408))
            self._close()
        elif request.submitted:
            self._refuse_request(request, answer_timed_out())
            request.connection = None
        elif (late_at := self._late_at(request)) > self._loop.time():
            self.deadline = late_at
        else:
            request.release()
            self._last_answer = True
            self._refuse_request(request, body_timeout(self._shared.policy.request_timeout_s))

    def _late_at(self, request: Request) -> float:
        """The time by which more of the body must have arrived."""
        seconds = self._shared.policy.request_timeout_s
        return due_at(self._receiving_since, seconds, self._filled, request.length)

    # --- requests -----------------------------------------------------------------------------------------

    def _read(self, data: bytes | bytearray, size: int) -> None:
        """Begin a request with the first `size` bytes of `data`; empty lines before it do not begin one."""
        if data[:1] in LINE_ENDS and not (data := bytes(data[:size]).lstrip(LINE_ENDS)):
            return
        size = min(size, len(data))
        policy = self._shared.policy
        if not self._begun:
            self._begun = True
            self.deadline = self._loop.time() + policy.request_timeout_s
        end = data.find(HEAD_END, 0, size)
        if end > policy.max_header_bytes or (end < 0 and size > policy.max_header_bytes):
            self._refuse_head(431 if data.find(b"\n", 0, URL_BYTES_MAX) >= 0 else 414)
            return
        if end < 0 and has_bare_line_feed(data, size):
            self._refuse_head(400)
            return
        if end < 0 and PLAIN_START.startswith(data[: min(size, len(PLAIN_START))]):
            self._waiting = bytes(data[:size])
            return
        known = self._plain(bytes(data[:end])) if end >= 0 else None
        if known is None:
            head = without_upgrade(bytes(data[:end])) if end >= 0 else b""
            self._hand_on(head + bytes(data[max(end, 0) : size]))
            return
        request = Request(self, self._shared, known, self._client)
        try:
            request.charge.begin(size - end - len(HEAD_END))
        except Refused as error:
            self._skip(request, bytes(data[end + len(HEAD_END) : size]))
            self._refuse_request(request, error)
        else:
            self._request = request
            self._receive(request, data, end + len(HEAD_END), size)

    def _refuse_head(self, status: int) -> None:
        """Answers and closes; bytes that still arrive are dropped, so that the client can read the answer."""
        self._transport.write(self._refuse(status))
        self._refused = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.deadline = self._loop.time() + LINGER_S

    def _plain(self, head: bytes) -> LaneHead | None:
        """The parsed plain head; None if the ASGI route must answer."""
        parsed = None if self._seat.is_surplus else self._heads.parse(head)
        if parsed is None or parsed.plain.content_length > self._shared.parts.policy.max_body_bytes:
            return None
        return parsed

    def _receive(self, request: Request, data: bytes | bytearray, start: int, size: int) -> None:
        end = start + request.length
        if end <= size:
            self._waiting = bytes(data[end:size])
            self._submit(bytes(data[start:end]))
            return
        self._receiving_since = self._loop.time()
        self._filled = 0
        self.deadline = self._late_at(request)
        self._body = bytearray(request.length)
        self._filled = size - start
        self._body[: self._filled] = data[start:size]

    def _skip(self, request: Request, received: bytes) -> None:
        """A refused body is read nevertheless, so that the client sees the answer."""
        self._to_skip = max(request.length - len(received), 0)
        self._waiting = received[request.length :]

    def _charge_more(self, request: Request) -> None:
        """More of a large body has arrived than was charged; if there is no room for it the request ends
        here."""
        try:
            request.charge.arrived(self._filled)
        except Refused as error:
            request.release()
            self._to_skip = request.length - self._filled
            self._refuse_request(request, error)

    def _submit(self, body: Body) -> None:
        request, self._body = self._request, None
        assert request is not None
        self.deadline = self._loop.time() + self._shared.parts.policy.answer_timeout_s
        if not request.head.submit(body, request, self._client):
            # Not as its head says: the ASGI route unpacks it, or reads it as another protocol's.
            request.hand_back(body)

    def hand_back(self, request: Request, body: Body) -> None:
        """The ASGI route answers a request whose body is complete."""
        self._request = None
        waiting, self._waiting = self._waiting, b""
        self._hand_on(b"".join((request.head.data, HEAD_END, body, waiting)))

    def _refuse_request(self, request: Request, error: RequestError) -> None:
        self.answer(request, request.head.answer(error, request.client, request.request_id))

    def answer(self, request: Request, answer: HttpAnswer) -> None:
        """Send the answer and continue with the next request."""
        self._request = self._body = None
        self._begun = False
        shared, state = self._shared, self._server_state
        keep_alive = not self._last_answer and not (self._ended and not self._waiting)
        answer.headers.append(VARIES)
        self._transport.write(rendered(answer, state, keep_alive=keep_alive))
        state.total_requests += 1
        path = request.head.plain.path.decode("ascii")
        shared.metrics.note(
            path,
            answer.status,
            request.length,
            len(answer.body),
            seconds := time.perf_counter() - request.began,
        )
        if shared.access.enabled:
            shared.access.note(
                "POST",
                path,
                answer.status,
                size=request.length,
                seconds=seconds,
                request_id=request.request_id,
                client=self._client,
                workspace_id=request.head.credential.workspace_id,
            )
        if not keep_alive:
            self._transport.close()
            self.deadline = self._loop.time() + shared.policy.request_timeout_s
            return
        self.deadline = self._loop.time() + shared.policy.keep_alive_s
        if self._waiting:
            self._goes_on = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Read the requests that came early."""
        self._goes_on = False
        if self._request is not None or self._writing_paused or self._transport.is_closing():
            return
        data, self._waiting = self._waiting, b""
        if data:
            self._read(data, len(data))
        if self._reading_paused and len(self._waiting) < WAITING_BYTES_MAX:
            self._reading_paused = False
            self._transport.resume_reading()

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _close(self) -> None:
        """A client that does not read its answer is not waited for."""
        if self._writing_paused:
            self._transport.abort()
        else:
            self._transport.close()
            self.deadline = self._loop.time() + self._shared.policy.request_timeout_s

    def _hand_on(self, data: bytes) -> None:
        """From here on the connection is uvicorn's."""
        self._server_state.connections.discard(self)
        self.deadline = None
        protocol = self._hand_over()
        protocol.seat = self._seat
        self._pause_reading()  # the loop chooses how to read when reading begins
        self._transport.set_protocol(protocol)
        self._reading_paused = False
        self._transport.resume_reading()
        protocol.connection_made(self._transport)
        protocol.data_received(data)
