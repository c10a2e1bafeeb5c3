"""Errors for a browser: a page that says what to do, or the login if a key is required."""

from html import escape
from types import MappingProxyType
from typing import Final

import orjson
from starlette.types import Scope

from app.api.admin_auth import SESSION_KEY
from app.api.headers import RawHeaders
from app.api.pages.login import login_page
from app.api.pages.shell import PAGE_HEADERS, Viewer, prefers_html, render_page

PAGES_THAT_POST: Final = frozenset({"/flush", "/query", "/login", "/logout"})
"""Targets of the pages' forms; all other calls except GET come from programs."""

_TITLES: Final = MappingProxyType(
    {
        403: "Not allowed with this key",
        404: "Nothing here",
        405: "Method not allowed",
        429: "Too many requests",
        503: "Not now",
    }
)


def wants_page(scope: Scope) -> bool:
    """Whether an error answer to this request should be a page."""
    return prefers_html(scope) and (
        scope["method"] in ("GET", "HEAD") or scope["path"].rstrip("/") in PAGES_THAT_POST
    )


def error_page(scope: Scope, status: int, body: bytes) -> tuple[RawHeaders, bytes]:
    """Headers and body that replace those of the JSON answer `body`; other headers stay unchanged."""
    said = orjson.loads(body)
    viewer = Viewer(has_session=SESSION_KEY in scope)
    path = scope["path"] if scope["method"] in ("GET", "HEAD") else "/"
    query = scope["query_string"].decode("latin-1")
    wants_key = status == 401 or (status == 403 and SESSION_KEY not in scope)
    if wants_key and path != "/login":
        following = f"{path}?{query}" if query and "token=" not in query else path
        page = login_page(viewer, following, said["message"] if _has_tried(scope) or status == 403 else "")
    else:
        title = _TITLES.get(status, "The request failed")
        page = render_page(
            title,
            f'<h1>{title}</h1><div class="notice bad" role="alert">{escape(said["message"])}</div>'
            f'<p class="soft small"><code>{escape(said["error"])}</code>, status {status}, request '
            f'<code>{escape(said["request_id"])}</code>. <a href="/">To the overview</a></p>',
            viewer,
        )
    content = page.encode()
    headers = {
        **PAGE_HEADERS,
        "content-type": "text/html; charset=utf-8",
        "content-length": str(len(content)),
    }
    return [(name.encode(), value.encode()) for name, value in headers.items()], content


def _has_tried(scope: Scope) -> bool:
    return any(name in (b"authorization", b"x-api-key") for name, _ in scope["headers"]) or (
        b"token=" in scope["query_string"] or SESSION_KEY in scope
    )
