"""Answers of the fast lane as bytes."""

from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from app.api.error_responses import HttpAnswer

VARIES: Final = (b"vary", b"Origin")
"""The headers that the CORS middleware of the ASGI route adds for a request without an origin."""


def rendered(answer: HttpAnswer, server_state: ServerState, *, keep_alive: bool) -> bytes:
    """The answer as uvicorn would send it."""
    pieces = [STATUS_LINE[answer.status]]
    for name, value in (*server_state.default_headers, *answer.headers):
        pieces += (name, b": ", value, b"\r\n")
    if not keep_alive and (b"connection", b"close") not in answer.headers:
        pieces.append(b"connection: close\r\n")
    pieces += (b"\r\n", answer.body)
    return b"".join(pieces)
