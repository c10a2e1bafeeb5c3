"""Reads clients' JSON so that one bad value never affects other messages.

The usual case is one call of msgspec, which leaves the values as the client's bytes. Only if it fails is the
text examined piece by piece: bare NaN and infinities become null, half a surrogate pair and bytes that are
not UTF-8 become U+FFFD, and an element that still cannot be read is refused by itself. Whichever way an
object is read, the earlier values of repeated keys are kept: see `repeated_keys`.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeGuard

import msgspec
from msgspec import Raw

from app.clients.call import Document
from app.clients.repeated_keys import Merged, gathered, merged, none_repeated, none_repeated_within, put
from app.decode.json.repeated import pairs_of
from app.errors import MalformedBatch

Members = dict[str, Raw]

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_STRING: Final = rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)'
"""The pattern is possessive, and an unterminated string runs to the end of the text, so each byte is examined
once."""

_TOKENS: Final = re.compile(_STRING + rb"|[\[\]{},:]", re.DOTALL)
_CONSTANTS: Final = re.compile(_STRING + rb"|-?\bInfinity\b|\bNaN\b|-?\binf\b|\bnan\b", re.DOTALL)
_ESCAPES: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_REPLACEMENT: Final = rb"\ufffd"

_members = msgspec.json.Decoder(Members).decode
_lists = msgspec.json.Decoder(list[Members]).decode
_text = msgspec.json.Decoder(str).decode


def _finite(number: str) -> float | Raw:
    value = float(number)
    return value if value - value == 0 else Raw(number.encode())


_plain_values_of = msgspec.json.Decoder().decode
_values_of = msgspec.json.Decoder(float_hook=_finite).decode


def read_object(body: bytes | Raw, lists: Sequence[str] = ()) -> Members:
    """The members of a body that is one object. lists: keys of lists of messages, which are joined if there
    are several. Raises MalformedBatch."""
    try:
        return read_members(_checked(body), lists)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    return _object_of(repaired(bytes(body)), "the body", lists)


def read_objects(values: Sequence[Raw | None]) -> list[Members]:
    """The members of each value that is an object, of any other none. The values are parts of one body that
    was read; together they cost less. Raises MalformedBatch."""
    texts = [bytes(value) if is_object(value) else b"{}" for value in values]
    array = b"[%b]" % b",".join(texts)
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        found: list[Members] = _lists(array)
        if none_repeated(array, found):
            return found
    return [read_object(text) for text in texts]


def read_elements(array: bytes | Raw, document: Document) -> Iterator[tuple[int, Members]]:
    """Number (from 1) and members of each object of an array, or of a single object instead of an array.

    Other elements are refused in `document`. Raises MalformedBatch if the text is neither array nor object.
    """
    try:
        found = _lists(_checked(array))
        text = bytes(array).strip()
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        text = repaired(bytes(array)).strip()
    else:
        if none_repeated(array, found):
            yield from enumerate(found, 1)
            return
    if text.startswith(b"{"):
        yield 1, _object_of(text, "the body")
        return
    yield from _each(elements(text), document)


def read_stream(body: bytes, document: Document, lists: Sequence[str] = ()) -> Iterator[tuple[int, Members]]:
    """Number and members of objects that follow each other, on lines or without anything between them."""
    return _each(_values(repaired(body)), document, lists)


def _each(
    texts: Iterable[bytes], document: Document, lists: Sequence[str] = ()
) -> Iterator[tuple[int, Members]]:
    for number, text in enumerate(texts, 1):
        try:
            yield number, read_members(text, lists)
        except msgspec.ValidationError:
            document.refuse(number, "", "a message must be one JSON object")
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            document.refuse(number, "", unreadable(error))


def read_members(text: bytes | Raw, lists: Sequence[str] = ()) -> Members:
    """The members of a valid object. lists: see `read_object`. Raises msgspec.DecodeError, RecursionError."""
    members: Members = _members(text)
    return members if none_repeated(text, members) else gathered(pairs_of(bytes(text).decode()), lists)


def _checked(text: bytes | Raw) -> bytes | Raw:
    """Checks that the text is UTF-8, since values left as bytes are not checked. Raises
    UnicodeDecodeError."""
    raw = bytes(text)
    if not raw.isascii():
        str(raw, "utf-8")
    return text


def unreadable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return f"not valid JSON: {error}"


def repaired(text: bytes) -> bytes:
    """The text with almost-valid JSON repaired."""
    text = text.removeprefix(_BYTE_ORDER_MARK)
    if not text.isascii():
        text = text.decode("utf-8", "replace").encode()
    if b"\\ud" in text or b"\\uD" in text:
        text = _ESCAPES.sub(lambda match: _REPLACEMENT if match[1] else match[0], text)
    if b"NaN" in text or b"Infinity" in text or b"nan" in text or b"inf" in text:
        text = _CONSTANTS.sub(lambda match: match[0] if match[0][:1] == b'"' else b"null", text)
    return text


def elements(array: bytes) -> list[bytes]:
    """The texts of an array's elements, found by brackets only. Raises MalformedBatch if it has no end."""
    if not array.startswith(b"["):
        raise MalformedBatch("expected a JSON array of messages")
    return [array[start:end] for start, end in _parts(array, 0)]


class Unreadable(msgspec.Struct, frozen=True):
    """Stands for an element of an array that is not valid JSON."""

    reason: str


def read_levels(body: bytes, levels: int) -> Any:
    """The values of a body, however it is nested. Where it is not valid JSON, a fault in the outer `levels`
    arrays and objects costs the one element or member that it is in: the element is `Unreadable`, and the
    member has its text for a value. Numbers beyond a double stay as they are written. Raises MalformedBatch
    if the body is no array or object, or has no end."""
    try:
        return _read_values(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        text = repaired(body).strip()
    value = _read_level(text, levels)
    if isinstance(value, Unreadable):
        raise MalformedBatch(f"the body is {value.reason}")
    return value


def _read_values(text: bytes) -> Any:
    try:
        value = _plain_values_of(text)
    except msgspec.DecodeError:
        value = _values_of(text)
    return value if none_repeated_within(text, value) else merged(text, _finite)


def _read_level(text: bytes, levels: int) -> Any:
    try:
        return _read_values(text)
    except (msgspec.DecodeError, RecursionError) as error:
        if not levels or text[:1] not in (b"{", b"["):
            return Unreadable(unreadable(error))
    if text.startswith(b"["):
        return [_read_inside(element, levels - 1) for element in elements(text)]
    members: dict[str, Any] = Merged()
    for name, member in _members_of(text, "the body"):
        value = _read_inside(bytes(member), levels - 1)
        put(members, name, bytes(member).decode() if isinstance(value, Unreadable) else value)
    return members


def _read_inside(text: bytes, levels: int) -> Any:
    try:
        return _read_level(text, levels)
    except MalformedBatch:
        return Unreadable("not valid JSON")


def no_object(value: Any, what: str) -> str:
    """Why a value that is no object is refused."""
    return value.reason if isinstance(value, Unreadable) else f"{what} must be one JSON object"


def text_of(value: Raw | None) -> str | None:
    """A string, or a number or boolean as it is written; None if it is absent, null, empty or a structure."""
    if value is None or not len(value):
        return None
    raw = bytes(value)
    first = raw[:1]
    if first == b'"':
        try:
            return _text(raw) or None
        except msgspec.DecodeError:
            return None
    if first in b"{[" or raw == b"null":
        return None
    return raw.decode("ascii", "replace")


def is_given(value: Raw | None) -> TypeGuard[Raw]:
    """Whether a member is present and neither null nor an empty string."""
    return value is not None and bytes(value) not in (b"null", b'""', b"")


def is_object(value: Raw | None) -> TypeGuard[Raw]:
    return value is not None and bytes(value)[:1] == b"{"


def taken_object(members: Members, key: str) -> Raw | None:
    """Takes a member out if it is an object; any other value stays."""
    return members.pop(key) if is_object(members.get(key)) else None


def quoted(text: str) -> bytes:
    """A JSON string; half a surrogate pair becomes U+FFFD."""
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError:
        return msgspec.json.encode(sound(text))


def sound(text: str) -> str:
    """The text with half surrogate pairs replaced by U+FFFD, and whole ones joined."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def plain(value: Any) -> Any:
    """A value from `json.loads` or a protocol buffer, made representable in JSON."""
    if isinstance(value, str):
        return value if value.isascii() else sound(value)
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {sound(str(key)): plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def _object_of(text: bytes, what: str, lists: Sequence[str] = ()) -> Members:
    text = text.strip()
    if not text.startswith(b"{"):
        raise MalformedBatch(f"{what} must be one JSON object")
    try:
        return read_members(text, lists)
    except (msgspec.DecodeError, RecursionError):
        return gathered(_members_of(text, what), lists)


def _members_of(text: bytes, what: str) -> Iterator[tuple[str, Raw]]:
    """The members of an object, found by brackets and commas only."""
    for start, end in _parts(text, 0):
        match = _TOKENS.match(text, start)
        colon = text.find(b":", match.end(), end) if match else -1
        if match is None or colon < 0:
            raise MalformedBatch(f"{what} is not valid JSON")
        try:
            yield _text(match[0]), Raw(text[colon + 1 : end].strip())
        except msgspec.DecodeError as error:
            raise MalformedBatch(f"{what} is not valid JSON: {error}") from None


def _parts(text: bytes, start: int) -> Iterator[tuple[int, int]]:
    """The positions of the parts of an array or object between its brackets and commas, without blanks."""
    depth, begin = 0, start + 1
    for match in _TOKENS.finditer(text, start):
        token = text[match.start()]
        if token in b"[{":
            depth += 1
        elif token in b"]}":
            depth -= 1
            if not depth:
                if text[begin : match.start()].strip():
                    yield _stripped(text, begin, match.start())
                if text[match.end() :].strip():
                    raise MalformedBatch("there is extra data after the end of the body")
                return
        elif token == ord(",") and depth == 1:
            yield _stripped(text, begin, match.start())
            begin = match.end()
    raise MalformedBatch("the body is truncated")


def _values(text: bytes) -> Iterator[bytes]:
    """Objects or arrays one after the other; anything else between them, to the end of its line."""
    position, size = 0, len(text)
    while position < size:
        if text[position] in b" \t\r\n,":
            position += 1
        elif text[position] in b"{[":
            end = _end_of(text, position)
            yield text[position:end]
            position = end
        else:
            end = text.find(b"\n", position)
            end = size if end < 0 else end
            yield text[position:end].strip()
            position = end


def _end_of(text: bytes, start: int) -> int:
    depth = 0
    for match in _TOKENS.finditer(text, start):
        token = text[match.start()]
        if token in b"[{":
            depth += 1
        elif token in b"]}":
            depth -= 1
            if not depth:
                return match.end()
    return len(text)


def _stripped(text: bytes, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - (len(part) - len(part.rstrip()))
