"""Reads JSON that has levels around its messages, as OpenTelemetry's and Loki's, into Python's values."""

from typing import Any

import msgspec
from msgspec import Raw

from app.clients.lenient_json import documents_of, elements, members_within, repaired, unquoted, unreadable
from app.clients.repeated_keys import Merged, merged, none_repeated_within, put
from app.errors import MalformedBatch


def _finite(number: str) -> float | Raw:
    value = float(number)
    return value if value - value == 0 else Raw(number.encode())


_plain_values_of = msgspec.json.Decoder().decode
_values_of = msgspec.json.Decoder(float_hook=_finite).decode


class Unreadable(msgspec.Struct, frozen=True):
    """Stands for an element of an array that is not valid JSON."""

    reason: str


def read_levels(body: bytes, levels: int, name: str) -> Any:
    """The values of a body, however it is nested. Where it is not valid JSON, a fault in the outer `levels`
    arrays and objects costs the one element or member that it is in: the element is `Unreadable`, and the
    member has its text for a value. Numbers beyond a double stay as they are written. Of several objects, one
    after the other, the members are merged; anything else between them becomes an element of `name`. Raises
    MalformedBatch if the body is no array or object, or has no end."""
    try:
        return _read_values(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        text = unquoted(repaired(body))
    documents = documents_of(text)
    if len(documents) > 1:
        return _merged_levels(documents, levels, name)
    value = _read_level(documents[0] if documents else text, levels)
    if isinstance(value, Unreadable):
        raise MalformedBatch(f"the body is {value.reason}")
    return value


def _merged_levels(documents: list[bytes], levels: int, name: str) -> Merged:
    whole = Merged()
    for text in documents:
        value = _read_inside(text, levels)
        if isinstance(value, dict):
            for key, each in value.items():
                put(whole, key, each)
        else:
            put(whole, name, value if isinstance(value, list) else [Unreadable("not a JSON object")])
    return whole


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
    for name, member in members_within(text, "the body"):
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
