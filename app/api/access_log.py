"""An access log, if it is enabled: one line per request with method, path, status and duration.

The path is logged without its query, which may contain keys.
"""

import logging
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.error_responses import WORKSPACE_KEY, RequestIds, request_id_of

PATH_CHARACTERS_MAX: Final = 200

_log = logging.getLogger(__name__)


class AccessLog:
    """enabled: whether anything is written."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled

    def note(
        self,
        method: str,
        path: str,
        status: int,
        *,
        size: int,
        seconds: float,
        request_id: str,
        client: tuple[str, int] | None,
        workspace_id: int | None,
    ) -> None:
        """size: bytes of the request's body, according to its head."""
        shown = path[:PATH_CHARACTERS_MAX].encode("ascii", "backslashreplace").decode()
        _log.info(
            "%s %s %d",
            method,
            shown if shown.isprintable() else ascii(shown)[1:-1],
            status,
            extra={
                "method": method,
                "path": shown,
                "status": status,
                "bytes": size,
                "duration_ms": round(seconds * 1000, 2),
                "request_id": request_id,
                "client": client[0] if client else None,
                "workspace_id": workspace_id,
            },
        )


class AccessLogged:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, ids: RequestIds, access: AccessLog) -> None:
        self._app = app
        self._ids = ids
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 0, time.perf_counter()

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        request_id = request_id_of(scope, self._ids)
        try:
            await self._app(scope, receive, send_noted)
        finally:
            self._access.note(
                scope["method"],
                scope["path"],
                status,
                size=_content_length(scope),
                seconds=time.perf_counter() - began,
                request_id=request_id,
                client=scope.get("client"),
                workspace_id=scope.get(WORKSPACE_KEY),
            )


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and len(value) < 19:
            return int(value)
    return 0
