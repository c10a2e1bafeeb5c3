"""Who may use the admin calls: /files, /flush, /status and /metrics.

If an admin token is configured, they require it. Otherwise they are open if the service listens on loopback
only, and closed if it does not. A workspace's own key may list and fetch that workspace's files and flush it,
and nothing else.

A browser that has logged in sends a session's cookie instead. It is accepted only here, never for ingest
calls; and requests that change something must come from a page of the same origin.

"Open on loopback" must not mean open to any page in a browser on the same machine. So a request without
credentials must name a loopback host (a DNS name rebound to 127.0.0.1 does not), must not have come through a
proxy, and if it changes something must not come from a page of another origin. Admin answers carry no CORS
headers, so pages of other origins cannot read them.
"""

import hmac
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import msgspec
from starlette.types import Scope

from app.api.api_keys import ApiKeys
from app.api.auth import SentCredential, basic, of_authorization, of_query, parse_key
from app.api.headers import RawHeaders, header
from app.api.sessions import Sessions
from app.errors import Forbidden, Unauthenticated

CREDENTIALS_MAX: Final = 3
"""The number of credentials that are checked; a request with more is refused."""

SESSION_KEY: Final = "parquet_sink.session"
"""The key in the scope of a request that a session's cookie has authenticated."""


class AdminUnauthenticated(Unauthenticated):
    """An admin call without a valid credential; a browser may ask its user for one."""


class Access(msgspec.Struct, frozen=True, gc=False):
    """What a request to an admin call may see. workspace_id: only that workspace, None for all."""

    workspace_id: int | None = None

    def may_see(self, workspace_id: int) -> bool:
        return self.workspace_id is None or self.workspace_id == workspace_id

    def narrow(self, wanted: int | None) -> int | None:
        """The workspace to work on, None for all, when the request asks for `wanted`. Raises Forbidden."""
        if wanted is None:
            return self.workspace_id
        if not self.may_see(wanted):
            raise Forbidden("This key belongs to another workspace; leave out `workspace_id`.")
        return wanted


class AdminAuth:
    """Decides who may use the admin calls; see the module's docstring."""

    def __init__(
        self,
        keys: ApiKeys,
        admin_token: str | None,
        *,
        bound_to_loopback: bool,
        sessions: Sessions | None = None,
    ) -> None:
        """admin_token: None or "" if none is configured. sessions: None if logging in is not possible.

        bound_to_loopback: the service listens on loopback addresses or a unix socket only.
        """
        self._keys = keys
        self._token = (admin_token or "").encode()
        self._bound_to_loopback = bound_to_loopback
        self._sessions = sessions

    def access_of(self, credential: bytes, place: str) -> Access:
        """What a key or the token may see. Raises AdminUnauthenticated, which names the place."""
        return self._access(SentCredential(place, credential))

    def authorise(self, scope: Scope) -> Access:
        """What this request may see. Raises Unauthenticated, Forbidden."""
        headers: RawHeaders = scope["headers"]
        if scope["method"] not in ("GET", "HEAD"):
            _refuse_other_origins(headers)
        sent = _credentials(headers, scope["query_string"])
        if sent:
            return self._of_credentials(sent)
        held = self._sessions.credential(headers) if self._sessions is not None else None
        if held is not None:
            if scope["method"] not in ("GET", "HEAD"):
                refuse_unless_own_origin(headers)
            scope[SESSION_KEY] = True
            return self.access_of(held, "The session's key")
        if self._token:
            raise AdminUnauthenticated(
                "This call requires the admin token: send it as `Authorization: Bearer TOKEN`, or as the "
                "password of HTTP Basic. A workspace's API key may read that workspace's files."
            )
        if not self._bound_to_loopback:
            raise Forbidden(
                "The service can be reached from other machines but has no admin token, so this call is "
                "disabled: set auth.admin_token and send it, or send a workspace's API key to read its "
                "files."
            )
        _refuse_rebound_and_proxied(headers)
        return Access()

    def authorise_admin(self, scope: Scope) -> None:
        """Admits requests that need no credentials, and raises Unauthenticated or Forbidden for all
        others."""
        if self.authorise(scope).workspace_id is not None:
            raise Forbidden(
                "A workspace's API key may only read and flush its own files; this call requires the admin "
                "token."
            )

    def _of_credentials(self, sent: list[SentCredential]) -> Access:
        access = {self._access(credential) for credential in sent}
        if len(access) > 1:
            raise AdminUnauthenticated("Different credentials were sent; send only one.")
        return access.pop()

    def _access(self, sent: SentCredential) -> Access:
        if self._token and sent.place != "?token=" and hmac.compare_digest(sent.text, self._token):
            return Access()
        key = parse_key(sent.text)
        workspace_id = self._keys.lookup(key) if key is not None else None
        if workspace_id is None:
            raise AdminUnauthenticated(
                f"{sent.place}: this is neither the admin token nor a workspace's API key. (The admin token "
                "is not accepted in a URL, since URLs end up in logs.)"
            )
        return Access(workspace_id)


def _credentials(headers: RawHeaders, query_string: bytes) -> list[SentCredential]:
    """All credentials of an admin request, at most a few."""
    sent = [*_admin_headers(headers), *(of_query(query_string) if b"token=" in query_string else ())]
    if len(sent) > CREDENTIALS_MAX:
        raise AdminUnauthenticated("Too many credentials were sent; send only one.")
    return sent


def _admin_headers(headers: RawHeaders) -> Iterator[SentCredential]:
    for name, value in headers:
        if name == b"x-api-key":
            yield SentCredential("X-API-Key", value.strip())
        elif name == b"authorization":
            if value[:6].lower() == b"basic ":
                # Browsers ask for a user name and a password: the token counts as the password.
                user, password = basic(value[6:])
                yield SentCredential("Authorization: Basic", password or user)
            else:
                yield of_authorization(value)


def _text(headers: RawHeaders, name: bytes) -> str | None:
    value = header(headers, name)
    return None if value is None else value.decode("latin-1")


def refuse_unless_own_origin(headers: RawHeaders) -> None:
    """Checks the origin of a request that has a cookie or sets one, as the browser states it. Raises
    Forbidden."""
    _refuse_other_origins(headers)
    if header(headers, b"origin") is None and _text(headers, b"sec-fetch-site") != "same-origin":
        raise Forbidden(
            "A call that changes something and is authenticated by a cookie must have an Origin header."
        )


def _refuse_other_origins(headers: RawHeaders) -> None:
    origin = _text(headers, b"origin")
    host = (_text(headers, b"host") or "").lower()
    site = _text(headers, b"sec-fetch-site")
    foreign = origin is not None and urlsplit(origin.lower()).netloc != host
    if foreign or site in ("cross-site", "same-site"):
        raise Forbidden("Pages of another origin may not make this call.")


def _refuse_rebound_and_proxied(headers: RawHeaders) -> None:
    if header(headers, b"x-forwarded-for") is not None or header(headers, b"forwarded") is not None:
        raise Forbidden(
            "The request came through a proxy, but there is no admin token: set auth.admin_token."
        )
    host = _text(headers, b"host") or ""
    if not _names_loopback(host):
        raise Forbidden(
            "Without an admin token this call is open to localhost only, but the Host header names another "
            "host: call it as localhost, or set auth.admin_token."
        )


def _names_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
