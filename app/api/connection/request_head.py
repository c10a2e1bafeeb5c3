"""Reads the head of a plain ingest request; anything else is for the full HTTP parser to judge.

It is strict on purpose: anything that two parsers could interpret differently (folded lines, odd line ends,
spaces before a colon, two lengths, a transfer encoding) is not read here, so no request can be smuggled past
one of them.
"""

import re
from collections.abc import Container
from typing import Final

import msgspec

from app.api.headers import RawHeaders

HEAD_END: Final = b"\r\n\r\n"
LINE_ENDS: Final = b"\r\n"

_REQUEST_LINE: Final = re.compile(rb"POST (/[-./0-9A-Z_a-z]*)(?:\?([!-\"$-~]*))? HTTP/1\.1", re.ASCII)
_HEADER: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t -~\x80-\xff]*)")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")

_NOT_PLAIN: Final = frozenset(
    {
        b"transfer-encoding",
        b"expect",
        b"trailer",
        b"te",
        b"origin",
        b"proxy-connection",
    }
)
"""Headers that require more than reading a number of bytes and answering."""

_CONNECTION: Final = frozenset({b"keep-alive", b"upgrade", b"http2-settings"})
"""What `Connection` may list. Java's client offers HTTP/2 (h2c) with its requests: that offer is ignored, as
RFC 9110 allows, and the request is read as HTTP/1.1."""

_OF_AN_UPGRADE: Final = re.compile(rb"\r\n(?:connection|upgrade|http2-settings):[^\r\n]*", re.IGNORECASE)

_ONCE: Final = frozenset({b"content-length", b"host", b"content-type", b"idempotency-key", b"authorization"})

CARRIAGE_RETURN: Final = ord("\r")


class PlainHead(msgspec.Struct, frozen=True):
    """The head of a request that the fast lane handles. headers: in ASGI's form, without Content-Length.
    is_packed: whether it has a Content-Encoding."""

    path: bytes
    query_string: bytes
    headers: RawHeaders
    content_length: int
    is_packed: bool

    def with_length(self, content_length: int) -> "PlainHead":
        return PlainHead(self.path, self.query_string, self.headers, content_length, self.is_packed)


def read_plain_head(head: bytes, paths: Container[bytes]) -> PlainHead | None:
    """The head, without the empty line that ends it; None when it is not plain, or for no path of these."""
    line, *fields = head.split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(line)
    if request is None or request[1] not in paths:
        return None
    headers: RawHeaders = []
    seen: set[bytes] = set()
    content_length = -1
    for field in fields:
        match = _HEADER.fullmatch(field)
        if match is None:
            return None
        name, value = match[1].lower(), match[2].rstrip(b" \t")
        if name in _NOT_PLAIN or (name in seen and name in _ONCE):
            return None
        if name == b"content-length":
            if not _LENGTH.fullmatch(value):
                return None
            content_length = int(value)
        else:
            if name == b"connection" and not _CONNECTION.issuperset(_tokens(value)):
                return None
            headers.append((name, value))
        seen.add(name)
    if content_length < 0 or b"host" not in seen:
        return None
    is_packed = b"content-encoding" in seen
    return PlainHead(request[1], request[2] or b"", headers, content_length, is_packed)


def without_upgrade(head: bytes) -> bytes:
    """The head of a request with the offer of another protocol removed; any other head unchanged.

    The parser would read the bytes after such a head as the other protocol and not as a body. The connection
    is closed after the answer, so that the next offer is seen here, too.
    """
    if b"\r\nupgrade:" not in head.lower():
        return head
    return _OF_AN_UPGRADE.sub(b"", head) + b"\r\nConnection: close"


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip(b" \t").lower() for token in value.split(b",")]


def has_bare_line_feed(data: bytes | bytearray, size: int) -> bool:
    """Whether a line of the first `size` bytes ends without a carriage return."""
    at = data.find(b"\n", 0, size)
    while at > 0 and data[at - 1] == CARRIAGE_RETURN:
        at = data.find(b"\n", at + 1, size)
    return at >= 0
