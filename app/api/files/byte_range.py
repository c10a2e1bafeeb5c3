"""Conditional and partial requests (RFC 9110, sections 13 and 14), as far as files need them."""

import re
from typing import Final, NamedTuple

_RANGE: Final = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


class ByteRange(NamedTuple):
    """Offsets from `start` up to, not including, `stop`."""

    start: int
    stop: int


class NotSatisfiable(Exception):
    """The range begins after the end of the file."""


def parse_range(header: str, size: int) -> ByteRange | None:
    """The part that a Range header asks for of a file of `size` bytes.

    None if the header must or may be ignored, so that the whole file is sent: not a byte range, several
    ranges, or malformed. Raises NotSatisfiable.
    """
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        if int(last) == 0 or size == 0:
            raise NotSatisfiable
        return ByteRange(max(size - int(last), 0), size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise NotSatisfiable
    return ByteRange(start, min(int(last) + 1, size) if last else size)


def matches_strongly(header: str, etag: str) -> bool:
    """Whether If-Match or If-Range names `etag`. A date never matches: it cannot distinguish two versions
    within one second."""
    return any(candidate.strip() in (etag, "*") for candidate in header.split(","))


def matches_weakly(header: str, etag: str) -> bool:
    """Whether If-None-Match names `etag`."""
    return any(candidate.strip().removeprefix("W/") in (etag, "*") for candidate in header.split(","))
