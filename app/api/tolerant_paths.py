"""Requests that name a path inexactly: with a trailing slash, as HEAD, or without a path."""

from collections.abc import Container
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.pages.shell import prefers_html

DESCRIPTION: Final = b"/docs"
"""The path that serves `/` for clients that are not browsers and do not ask for JSON."""

_FILES: Final = "/files/"
"""Paths below it are names of files, and their routes answer HEAD themselves."""


class TolerantPaths:
    """ASGI middleware, the outermost.

    exact: paths whose trailing slash is significant; on all others it is ignored. calls: paths that handle
    HEAD themselves; on all others it is handled as GET, and the server omits the body. start_page: the page
    that a browser gets at `/`.
    """

    def __init__(
        self, app: ASGIApp, exact: Container[str], calls: Container[str], start_page: str = ""
    ) -> None:
        self._app = app
        self._exact = exact
        self._calls = calls
        self._start_page = start_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if path.endswith("/") and path not in self._exact and (bare := path.rstrip("/")):
                scope = {**scope, "path": bare, "raw_path": bare.encode()}
                path = bare
            if scope["method"] == "HEAD" and not path.startswith(_FILES) and path not in self._calls:
                scope = {**scope, "method": "GET"}
            if self._start_page and wants_start_page(scope):
                scope = {**scope, "path": self._start_page, "raw_path": self._start_page.encode()}
            elif path == "/" and scope["method"] == "GET" and not _wants_json(scope):
                headers = [(b"location", DESCRIPTION), (b"content-length", b"0")]
                await send({"type": "http.response.start", "status": 307, "headers": headers})
                await send({"type": "http.response.body", "body": b""})
                return
        await self._app(scope, receive, send)


def wants_start_page(scope: Scope) -> bool:
    """Whether a browser requests `/`."""
    return scope["path"] == "/" and scope["method"] in ("GET", "HEAD") and prefers_html(scope)


def _wants_json(scope: Scope) -> bool:
    """Elasticsearch's agents request `/` to identify the server."""
    return any(name == b"accept" and b"json" in value for name, value in scope["headers"])
