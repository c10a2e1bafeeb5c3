"""Requests that mean a path and do not say it exactly: with a slash behind it, as HEAD, or without one."""

from collections.abc import Container
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

START_PAGE: Final = b"/docs"
"""Where the bare address of the service leads, as long as it has no page of its own."""

_FILES: Final = "/files/"
"""Paths below it are names of files, and know HEAD themselves."""


class TolerantPaths:
    """ASGI middleware, the outermost.

    exact: paths whose last slash is meant; of no other it is. calls: paths that take HEAD themselves; all
    others are asked as GET, of which the server leaves the body out.
    """

    def __init__(self, app: ASGIApp, exact: Container[str], calls: Container[str]) -> None:
        self._app = app
        self._exact = exact
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if path.endswith("/") and path not in self._exact and (bare := path.rstrip("/")):
                scope = {**scope, "path": bare, "raw_path": bare.encode()}
                path = bare
            if scope["method"] == "HEAD" and not path.startswith(_FILES) and path not in self._calls:
                scope = {**scope, "method": "GET"}
            if path == "/" and scope["method"] == "GET" and not _wants_json(scope):
                headers = [(b"location", START_PAGE), (b"content-length", b"0")]
                await send({"type": "http.response.start", "status": 307, "headers": headers})
                await send({"type": "http.response.body", "body": b""})
                return
        await self._app(scope, receive, send)


def _wants_json(scope: Scope) -> bool:
    """Elasticsearch's agents ask the bare address what it is."""
    return any(name == b"accept" and b"json" in value for name, value in scope["headers"])
