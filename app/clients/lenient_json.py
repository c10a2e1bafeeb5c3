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
from app.clients.repeated_keys import (
    gathered,
    none_repeated,
    one_list,
)
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
_SHOWN_MAX: Final = 100
_REPLACEMENT: Final = rb"\ufffd"

_members = msgspec.json.Decoder(Members).decode
_lists = msgspec.json.Decoder(list[Members]).decode
_text = msgspec.json.Decoder(str).decode


def read_object(body: bytes | Raw, lists: Sequence[str] = ()) -> Members:
    """The members of a body that is one object. lists: keys of lists of messages, which are joined if there
    are several. A body of several objects, one after the other, is read as if it were one: their lists are
    joined to that of the first key, and one without such a list is a message. Raises MalformedBatch."""
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
        text = unquoted(repaired(bytes(array)))
        documents = documents_of(text)
        if documents:
            text = bytes(one_list(documents)) if len(documents) > 1 else documents[0]
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
            if (members := _within_text(text)) is None:
                document.refuse(number, "", "a message must be one JSON object")
            else:
                yield number, members
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            document.refuse(number, "", unreadable(error))


def _within_text(text: bytes) -> Members | None:
    """The members of an object that was encoded twice, as a text in JSON."""
    try:
        return read_members(_text(text).encode())
    except (msgspec.DecodeError, RecursionError):
        return None


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


def unquoted(text: bytes) -> bytes:
    """The text without blanks around it; JSON that was encoded twice is taken out of its quotes."""
    text = text.strip()
    if text.startswith(b'"'):
        with contextlib.suppress(msgspec.DecodeError):
            inside: bytes = _text(text).encode().strip()
            return inside if inside[:1] in (b"{", b"[") else text
    return text


def elements(array: bytes) -> list[bytes]:
    """The texts of an array's elements, found by brackets only. Raises MalformedBatch if it has no end."""
    if not array.startswith(b"["):
        raise MalformedBatch("expected a JSON array of messages")
    return [array[start:end] for start, end in _parts(array, 0)]


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


def name_of(value: Raw) -> bytes | Raw:
    """A name: a number or boolean as a text, any other value as it is."""
    if bytes(value)[:1] == b'"':
        return value
    text = text_of(value)
    return value if text is None else quoted(text)


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
    text = unquoted(text)
    if not text.startswith(b"{"):
        raise MalformedBatch(f"{what} must be one JSON object")
    try:
        return read_members(text, lists)
    except (msgspec.DecodeError, RecursionError):
        documents = documents_of(text) if lists else []
        if len(documents) > 1:
            return gathered(_members_of_documents(documents, lists[0]), lists)
        return gathered(members_within(documents[0] if documents else text, what), lists)


def _members_of_documents(documents: list[bytes], name: str) -> Iterator[tuple[str, Raw]]:
    for text in documents:
        members = list(members_within(text, "the body")) if text.startswith(b"{") else []
        if any(key == name for key, _ in members):
            yield from members
        else:
            yield name, Raw(text)


def documents_of(text: bytes) -> list[bytes]:
    """The objects and arrays that follow each other; anything else between them as a text."""
    return [
        piece if piece[:1] in (b"{", b"[") else quoted(piece[:_SHOWN_MAX].decode("utf-8", "replace"))
        for piece in _values(text)
    ]


def members_within(text: bytes, what: str) -> Iterator[tuple[str, Raw]]:
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
