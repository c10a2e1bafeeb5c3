"""Browser sessions.

A session has an unguessable id, which is known only to this process.

It holds the key or token itself, which is checked at each request: a revoked key is no longer valid in a
session either.
"""

import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from app.api.headers import RawHeaders

COOKIE: Final = "parquet_sink_session"

SESSIONS_MAX: Final = 10_000
"""Above this, the oldest session ends."""

SESSION_S: Final = 12 * 3600
"""A session ends after this time, whether used or not."""

COOKIE_BYTES_MAX: Final = 8192


class Session(msgspec.Struct, frozen=True):
    """credential: the key or token as entered. until_s: when it ends, by the clock."""

    credential: bytes
    until_s: float


class Sessions:
    """Belongs to the event loop. clock_s: a monotonic clock."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._sessions: dict[str, Session] = {}

    def begin(self, credential: bytes) -> str:
        """The name of a new session."""
        name = secrets.token_urlsafe(32)
        now = self._clock_s()
        self._sessions = {name: each for name, each in self._sessions.items() if each.until_s > now}
        while len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[name] = Session(credential, now + SESSION_S)
        return name

    def credential(self, headers: RawHeaders) -> bytes | None:
        """The contents of the request's session, None if it has no valid one."""
        session = self._sessions.get(_name(headers))
        if session is None or session.until_s <= self._clock_s():
            return None
        return session.credential

    def end(self, headers: RawHeaders) -> None:
        self._sessions.pop(_name(headers), None)


def session_cookie(name: str, *, secure: bool) -> str:
    """A Set-Cookie header; an empty name deletes the cookie."""
    lifetime = SESSION_S if name else 0
    kept = "; Secure" if secure else ""
    return f"{COOKIE}={name}; Path=/; HttpOnly; SameSite=Strict; Max-Age={lifetime}{kept}"


def _name(headers: RawHeaders) -> str:
    for name, value in headers:
        if name == b"cookie" and COOKIE.encode() in value[:COOKIE_BYTES_MAX]:
            for part in value[:COOKIE_BYTES_MAX].decode("latin-1").split(";"):
                key, _, text = part.strip().partition("=")
                if key == COOKIE:
                    return text
    return ""
