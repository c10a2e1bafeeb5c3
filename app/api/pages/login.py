"""GET and POST /login, POST /logout: turns a key or the admin token into a browser session."""

from collections.abc import Callable
from html import escape
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from app.api.admin_auth import AdminAuth, AdminUnauthenticated, refuse_unless_own_origin
from app.api.headers import header
from app.api.pages.shell import Viewer, page_response, render_page
from app.api.sessions import Sessions, session_cookie
from app.errors import BodyTooLarge

FORM_BYTES_MAX: Final = 4096
FIELDS_MAX: Final = 10

PATH_CHARACTERS_MAX: Final = 2048
"""The longest path that a login may redirect to."""

WRONG: Final = "This is neither the admin token nor the key of a workspace of this service."


def login_page(viewer: Viewer, following: str, message: str = "") -> str:
    """following: the path to go to. message: what is wrong, as plain text."""
    notice = f'<div class="notice bad" role="alert">{escape(message)}</div>' if message else ""
    return render_page(
        "Log in",
        f"""<div class="login"><h1>Log in</h1>
<p>Use the API key of a workspace to see only that workspace, or the admin token to see all.</p>
{notice}
<form action="/login" method="post">
<input type="hidden" name="next" value="{escape(safe_path(following))}">
<label>Key or token <input type="password" name="credential" autocomplete="current-password"
  required autofocus></label>
<button class="first">Log in</button>
</form>
<p class="soft small">A cookie keeps you logged in for up to twelve hours. It is accepted for these pages,
but not for calls that send rows.
<code>parquet-sink keys add --workspace 1</code> creates a key.</p></div>""",
        viewer,
    )


def login_router(auth: AdminAuth, sessions: Sessions, *, over_tls: bool) -> APIRouter:
    """over_tls: whether this service itself uses TLS."""
    router = APIRouter(include_in_schema=False)
    is_secure = secure_by(over_tls=over_tls)

    @router.get("/login", include_in_schema=False)
    async def show(request: Request) -> Response:
        return page_response(login_page(Viewer(), request.query_params.get("next", "/")))

    @router.post("/login", include_in_schema=False)
    async def log_in(request: Request) -> Response:
        refuse_unless_own_origin(request.scope["headers"])
        form = await _form(request)
        following = safe_path(form.get("next", ""))
        credential = form.get("credential", "").strip().encode()
        try:
            auth.access_of(credential, "The form")
        except AdminUnauthenticated:
            return page_response(login_page(Viewer(), following, WRONG), 401)
        # A name that was there before is never kept: whoever has planted it would know it.
        sessions.end(request.scope["headers"])
        cookie = session_cookie(sessions.begin(credential), secure=is_secure(request.scope))
        return RedirectResponse(following, 303, {"set-cookie": cookie, "cache-control": "no-store"})

    @router.post("/logout", include_in_schema=False)
    async def log_out(request: Request) -> Response:
        refuse_unless_own_origin(request.scope["headers"])
        sessions.end(request.scope["headers"])
        cookie = session_cookie("", secure=is_secure(request.scope))
        headers = {"set-cookie": cookie, "cache-control": "no-store", "clear-site-data": '"cache"'}
        return RedirectResponse("/login", 303, headers)

    return router


def secure_by(*, over_tls: bool) -> Callable[[Scope], bool]:
    """Whether the browser uses TLS, to this service or to a proxy: only then it keeps a Secure cookie."""

    def is_secure(scope: Scope) -> bool:
        forwarded = header(scope["headers"], b"x-forwarded-proto") or b""
        return over_tls or scope.get("scheme") == "https" or forwarded.strip().lower() == b"https"

    return is_secure


def safe_path(path: str) -> str:
    """A path of this service, `/` for anything that could lead elsewhere."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if plain and "\\" not in path and len(path) <= PATH_CHARACTERS_MAX else "/"


async def _form(request: Request) -> dict[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise BodyTooLarge(f"A login may have at most {FORM_BYTES_MAX} bytes.")
    try:
        read = parse_qs(body.decode("utf-8", "replace"), max_num_fields=FIELDS_MAX)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in read.items()}
