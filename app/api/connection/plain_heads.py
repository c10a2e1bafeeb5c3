"""Parses the plain heads of a connection.

A client sends the same head again and again, with another length each time: parsing it once is enough.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from app.api.auth import credential_changed
from app.api.client_calls import ClientEndpoint
from app.api.connection.client_head import client_head
from app.api.connection.lane_head import LaneHead
from app.api.connection.native_head import native_head
from app.api.connection.request_head import PlainHead, read_plain_head
from app.api.ingest_request import INGEST_CALLS, IngestParts

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})(?![^\r])", re.IGNORECASE)


class LaneCalls:
    """The calls that the fast lane handles. endpoints: of other clients' protocols, by path."""

    def __init__(self, parts: IngestParts, endpoints: Mapping[str, ClientEndpoint]) -> None:
        self._parts = parts
        self._native = {call.path.encode(): call for call in INGEST_CALLS}
        self._endpoints = {path.encode(): endpoint for path, endpoint in endpoints.items()}
        only_bodies = {path for path, endpoint in self._endpoints.items() if endpoint.takes_only_bodies}
        self.paths: Final = self._native.keys() | only_bodies
        self.keys: Final = parts.keys

    def head_of(self, data: bytes, plain: PlainHead, tasks: "set[asyncio.Task[None]]") -> LaneHead | None:
        """None if the ASGI route must answer."""
        endpoint = self._endpoints.get(plain.path)
        if endpoint is not None and endpoint.takes_headers(plain.headers):
            return client_head(data, plain, endpoint, tasks)
        call = self._native.get(plain.path)
        return None if call is None else native_head(data, plain, call, self._parts, endpoint)


class PlainHeads:
    """Remembers the last head. tasks: see ClientHead."""

    def __init__(self, calls: LaneCalls, tasks: "set[asyncio.Task[None]]") -> None:
        self._calls = calls
        self._tasks = tasks
        self._around: tuple[bytes, bytes] | None = None
        self._known: LaneHead | None = None

    def parse(self, head: bytes) -> LaneHead | None:
        """The parsed head; None if the ASGI route must answer."""
        known = self._find(head)
        if known is not None and not credential_changed(known.credential, self._calls.keys):
            return known
        plain = read_plain_head(head, self._calls.paths)
        parsed = None if plain is None else self._calls.head_of(head, plain, self._tasks)
        if parsed is None:
            return None
        length = _LENGTH.search(head)
        self._around = _around(head, length) if length else None
        self._known = parsed
        return parsed

    def _find(self, head: bytes) -> LaneHead | None:
        """The parsed form of a head that differs at most in its length from the remembered one."""
        known = self._known
        if known is None or head == known.data:
            return known
        length = _LENGTH.search(head)
        if length is None or _around(head, length) != self._around:
            return None
        # What is equal around a length was read as plain once, with this as its only length.
        return known.with_length(head, int(length[1]))


def _around(head: bytes, length: "re.Match[bytes]") -> tuple[bytes, bytes]:
    """What stands before and after a length."""
    return head[: length.start(1)], head[length.end(1) :]
