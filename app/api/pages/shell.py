"""The common parts of all pages: frame, headers, viewer. Nothing is loaded from other hosts."""

from html import escape
from types import MappingProxyType
from typing import Final

import msgspec
from starlette.responses import HTMLResponse
from starlette.types import Scope

from app.api.admin_auth import SESSION_KEY, Access
from app.api.headers import header

PAGE_HEADERS: Final = MappingProxyType(
    {
        "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        # Not no-referrer: then a form of ours would be sent with the origin `null`.
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cache-control": "no-store",
        "vary": "accept, cookie",
    }
)

STATIC: Final = "/_pages"
"""The path below which style sheets and scripts are served."""

_LINKS: Final = (
    ("/", "Overview"),
    ("/files", "Files"),
    ("/query", "Query"),
    ("/live", "Live"),
    ("/docs", "API"),
)


class Viewer(msgspec.Struct, frozen=True):
    """The viewer of a page. known: whether anything may be shown. workspace_id: only that workspace.

    has_session: whether by a login.
    """

    known: bool = False
    workspace_id: int | None = None
    has_session: bool = False

    @property
    def name(self) -> str:
        if not self.known:
            return ""
        return "all workspaces" if self.workspace_id is None else f"workspace {self.workspace_id}"


def viewer_of(scope: Scope, access: Access) -> Viewer:
    return Viewer(True, access.workspace_id, SESSION_KEY in scope)


def render_page(
    title: str,
    body: str,
    viewer: Viewer,
    current: str = "",
    *,
    refresh_s: int = 0,
    scripted: bool = False,
) -> str:
    """A complete document. body: HTML. current: the path of the page in the navigation.

    refresh_s: how often a script refreshes its live parts; 0 for never. scripted: whether it needs the script
    for something else.
    """
    links = "".join(
        f'<a href="{path}"{" aria-current=page" if path == current else ""}>{name}</a>'
        for path, name in _LINKS
    )
    script = f'<script src="{STATIC}/pages.js" defer></script>\n' if scripted or refresh_s else ""
    refresh = f' data-refresh="{refresh_s}"' if refresh_s else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · Parquet Sink</title>
<link rel="icon" href="{STATIC}/icon.svg">
<link rel="stylesheet" href="{STATIC}/pages.css">
{script}</head>
<body{refresh}>
<a class="skip" href="#main">Skip to content</a>
<header><nav aria-label="Pages"><a class="name" href="/">Parquet Sink</a>{links}{_door(viewer)}</nav></header>
<main id="main">
{body}
</main>
</body>
</html>
"""


def page_response(page: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(page, status, dict(PAGE_HEADERS))


def _door(viewer: Viewer) -> str:
    if viewer.has_session:
        return (
            f'<form action="/logout" method="post"><span class="soft small">{viewer.name}</span>'
            "<button>Log out</button></form>"
        )
    if viewer.known:
        return f'<span class="soft small end">{viewer.name}</span>'
    return '<a class="end" href="/login">Log in</a>'


def prefers_html(scope: Scope) -> bool:
    """Whether the Accept header contains text/html, and not after application/json."""
    accept = (header(scope["headers"], b"accept") or b"").decode("latin-1").lower()
    types = [part.partition(";")[0].strip() for part in accept.split(",")]
    return next(
        (type_ == "text/html" for type_ in types if type_ in ("text/html", "application/json")), False
    )
