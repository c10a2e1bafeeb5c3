"""JSON in another encoding than UTF-8, as some programs write it, recognised by its first bytes."""

import re
from typing import Final

_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
"""A longer one stands before those that it begins with."""

_ZEROS: Final = (
    (re.compile(rb"[{\[\s]\0\0\0"), "utf-32-le"),
    (re.compile(rb"\0\0\0[{\[\s]"), "utf-32-be"),
    (re.compile(rb"[{\[\s]\0[^\0]\0"), "utf-16-le"),
    (re.compile(rb"\0[{\[\s]\0[^\0]"), "utf-16-be"),
)
"""Without a mark: JSON begins with two ASCII characters, and contains no zeros."""

_ANY_MARK: Final = tuple(mark for mark, _ in _MARKS)
_MARKS_MAX: Final = 4


def utf8_of(body: bytes) -> bytes:
    """The text in UTF-8, without byte order marks, and without zeros behind it; other bytes are unchanged."""
    for _ in range(_MARKS_MAX):
        if not body.startswith(_ANY_MARK) and b"\0" not in body[:2]:
            break
        body = _decoded(body)
    return body.rstrip(b"\0") if body.endswith(b"\0") else body


def _decoded(body: bytes) -> bytes:
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            body = body[len(mark) :]
            return body if encoding == "utf-8" else _in_utf8(body, encoding)
    for start, encoding in _ZEROS:
        if start.match(body):
            return _in_utf8(body, encoding)
    return body


def _in_utf8(body: bytes, encoding: str) -> bytes:
    return body.decode(encoding, "replace").encode()
