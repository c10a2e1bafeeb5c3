"""Query strings with bytes beyond ASCII, which curl and old browsers send as they were typed.

The parser refuses them, so they are percent-encoded before it sees them; nothing else is changed.
"""

import re
from typing import Final

LINES_MAX: Final = 16
"""Request lines of one chunk that are looked at; the parser refuses further ones with such bytes."""

LINE_BYTES_MAX: Final = 8 << 10
"""The parser refuses longer lines."""

_VERSION: Final = b" HTTP/1."
_BEYOND: Final = re.compile(rb"[\x80-\xff]")
_BLANK_LINES: Final = re.compile(rb"[\r\n]*")
_LINE: Final = re.compile(rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) /[!->@-~]*+\?[!-~]*+[\x80-\xff]")


def line_starts(data: bytes, start: int) -> list[int]:
    """Where request lines with such a query may begin: a body can contain the same bytes."""
    if _VERSION not in data:  # at most the last line is one, and it has not ended
        start = max(start, len(data) - LINE_BYTES_MAX)
    found = (match.start() for match in _LINE.finditer(data, start))
    return [position for position, _ in zip(found, range(LINES_MAX), strict=False)]


def encoded_line(data: bytes, start: int, *, in_query: bool) -> tuple[bytes, int]:
    """The request line that begins or continues at `start`, with its query encoded, and where it ends in
    `data`. in_query: whether its query has begun before `data`."""
    begin = start if in_query else _BLANK_LINES.match(data, start).end()  # type: ignore[union-attr]
    end = data.find(b"\n", begin)
    end = len(data) if end < 0 else end
    query = begin if in_query else data.find(b"?", begin, end)
    if query < 0:
        return data[start:end], end
    return data[start:query] + _BEYOND.sub(_encoded, data[query:end]), end


def _encoded(byte: "re.Match[bytes]") -> bytes:
    return b"%%%02X" % ord(byte[0])
