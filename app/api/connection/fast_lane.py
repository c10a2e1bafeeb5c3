"""The factory that uvicorn calls for connections, and one timer for all fast connections."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.api.access_log import AccessLog
from app.api.client_calls import ClientEndpoint
from app.api.connection.fast_connection import FastConnection
from app.api.connection.guarded_protocol import ConnectionPolicy, GuardedProtocol
from app.api.connection.plain_heads import LaneCalls
from app.api.connection.rendering import rendered
from app.api.connection.shared import Shared
from app.api.error_responses import error_response, refused_head_response, send_answer
from app.api.http_metrics import HttpMetrics
from app.api.ingest_request import IngestParts
from app.errors import Overloaded

SWEEP_SECONDS_MIN: Final = 0.05
SWEEP_SECONDS_MAX: Final = 1.0
"""Bounds of the interval at which deadlines are checked, a quarter of the shortest one."""


class FastLane:
    """Given to uvicorn as its protocol class (`http=`).

    FastConnection handles plain ingest requests, of the native calls and of other clients' protocols;
    GuardedProtocol, which is uvicorn's own with limits, all others.
    """

    def __init__(
        self,
        parts: IngestParts,
        endpoints: Mapping[str, ClientEndpoint],
        metrics: HttpMetrics,
        policy: ConnectionPolicy,
        access: AccessLog,
    ) -> None:
        """endpoints: of other clients' protocols, by path."""
        self._shared = Shared(parts, LaneCalls(parts, endpoints), metrics, policy, access)
        shortest_s = min(policy.request_timeout_s, policy.keep_alive_s)
        self._sweep_s = min(max(shortest_s / 4, SWEEP_SECONDS_MIN), SWEEP_SECONDS_MAX)
        self._sweeper: asyncio.TimerHandle | None = None

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.BaseProtocol:
        loop = _loop or asyncio.get_running_loop()
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._sweep_s, self._sweep, loop, server_state)

        def refuse(status: int) -> bytes:
            answer = refused_head_response(status, self._shared.parts.request_ids.of([]))
            return rendered(answer, server_state, keep_alive=False)

        def hand_over() -> GuardedProtocol:
            return GuardedProtocol(
                self._shared.policy, refuse, self._full, config, server_state, app_state, loop
            )

        return FastConnection(self._shared, config.limit_concurrency, server_state, loop, refuse, hand_over)

    async def _full(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers when server.max_connections are open."""
        error = Overloaded("All connections are in use; send the request again.", retry_after_s=1)
        await send_answer(send, error_response(error, self._shared.parts.request_ids.of(scope["headers"])))

    def _sweep(self, loop: asyncio.AbstractEventLoop, server_state: ServerState) -> None:
        """Ends connections that have waited too long. One timer for all costs less than one for each."""
        self._sweeper = loop.call_later(self._sweep_s, self._sweep, loop, server_state)
        now = loop.time()
        for connection in list(server_state.connections):
            assert isinstance(connection, FastConnection | GuardedProtocol)
            if connection.deadline is not None and connection.deadline <= now:
                connection.expired()
        self._shared.metrics.flush()
