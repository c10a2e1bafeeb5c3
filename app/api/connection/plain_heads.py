"""Parses the plain heads of a connection.

A client sends the same head again and again, with another length each time: parsing it once is enough.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from app.api.api_keys import ApiKeys
from app.api.auth import credential_changed
from app.api.connection.request_head import PlainHead, read_plain_head
from app.api.ingest_request import IngestCall, IngestHead, read_head
from app.errors import RequestError

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})(?![^\r])", re.IGNORECASE)


class ParsedHead(NamedTuple):
    """data: the bytes of this head, without the empty line."""

    data: bytes
    plain: PlainHead
    ingest: IngestHead


class PlainHeads:
    """Remembers the last head. calls: by path."""

    def __init__(self, calls: Mapping[bytes, IngestCall], keys: ApiKeys) -> None:
        self._calls = calls
        self._keys = keys
        self._around: tuple[bytes, bytes] | None = None
        self._known: ParsedHead | None = None

    def parse(self, head: bytes) -> ParsedHead | None:
        """The parsed head; None if the ASGI route must answer."""
        known = self._find(head)
        if known is not None and not credential_changed(known.ingest.credential, self._keys):
            return known
        plain = read_plain_head(head, self._calls)
        if plain is None:
            return None
        try:
            ingest = read_head(plain.call, plain.headers, plain.query_string, self._keys)
        except RequestError:
            return None
        if ingest.wait != "journal" or ingest.is_form:
            return None
        length = _LENGTH.search(head)
        self._around = _around(head, length) if length else None
        self._known = ParsedHead(head, plain, ingest)
        return self._known

    def _find(self, head: bytes) -> ParsedHead | None:
        """The parsed form of a head that differs at most in its length from the remembered one."""
        known = self._known
        if known is None or head == known.data:
            return known
        length = _LENGTH.search(head)
        if length is None or _around(head, length) != self._around:
            return None
        # What is equal around a length was read as plain once, with this as its only length.
        return ParsedHead(head, known.plain.with_length(int(length[1])), known.ingest)


def _around(head: bytes, length: "re.Match[bytes]") -> tuple[bytes, bytes]:
    """What stands before and after a length."""
    return head[: length.start(1)], head[length.end(1) :]
