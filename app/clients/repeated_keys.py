"""Keys that occur twice in one object: neither value is lost.

Lists of messages that occur twice are read as one list. Of other members the last value counts, and the
earlier ones are kept under `_shadowed`, as in native rows. Bodies without repeated keys are recognised by
their size, or by the number of their colons.
"""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from json import JSONDecoder
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Raw

SHADOWED: Final = "_shadowed"
REPEATED: Final = "repeated"
"""As in native rows: see app.decode.json.members."""

_KEY_SIZE_MIN: Final = 5
"""Bytes of a member with an empty key and one digit, with the comma before it."""

_SMALL: Final = 2048
"""Up to this size numpy's calls cost more than the scan itself."""

_ESCAPED_COLON: Final = re.compile(rb"\\u003[aA]")

_encode = msgspec.json.Encoder().encode
_shadowed = msgspec.json.Decoder(dict[str, dict[str, Raw]]).decode
_listed = msgspec.json.Decoder(list[Raw]).decode


class Earlier(dict[str, dict[str, Any]]):
    """The earlier values of an object's repeated keys, as the value of its `_shadowed`."""

    def __init__(self) -> None:
        super().__init__({REPEATED: {}})
        self._several: set[str] = set()

    def keep(self, key: str, value: Any) -> None:
        """One value is kept as it is, several as a list."""
        kept = self[REPEATED]
        if key not in kept:
            kept[key] = value
        elif key in self._several:
            kept[key].append(value)
        else:
            self._several.add(key)
            kept[key] = [kept[key], value]


class Merged(dict[str, Any]):
    """The outermost object of a body in which keys may have been repeated."""


def none_repeated(text: bytes | Raw, value: Any) -> bool:
    """Whether no key was lost when a text was decoded as `value`, of objects and arrays with Raw in them.

    False also if that is not certain.
    """
    written = _encode(value)
    return len(text) - len(written) < _KEY_SIZE_MIN or _as_many_colons(bytes(text), written)


def none_repeated_within(text: bytes, value: Any) -> bool:
    """The same for a text that was decoded completely: numbers may be written longer than they were."""
    return _as_many_colons(text, _encode(value))


def _as_many_colons(text: bytes, written: bytes) -> bool:
    """Each member has one between its key and value, and those in strings are the same in both."""
    if _colons_in(text) != _colons_in(written):
        return False
    return b"\\" not in text or _ESCAPED_COLON.search(text) is None


def _colons_in(text: bytes) -> int:
    if len(text) < _SMALL:
        return text.count(b":")
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(":")))


def gathered(pairs: Iterable[tuple[str, Raw]], lists: Sequence[str] = ()) -> dict[str, Raw]:
    """The members of an object. lists: keys of lists of messages."""
    values: dict[str, list[Raw]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    members = {key: given[-1] for key, given in values.items()}
    earlier = Earlier()
    for key, given in values.items():
        if len(given) > 1 and key in lists:
            members[key] = _one_list(given)
        else:
            for value in given[:-1]:
                earlier.keep(key, value)
    if earlier[REPEATED]:
        members[free_name(members)] = Raw(_encode(earlier))
    return members


def _one_list(values: Iterable[Raw]) -> Raw:
    """The elements of several arrays; what is no array is an element itself, and null is none."""
    parts = []
    for value in values:
        text = bytes(value).strip()
        if text.startswith(b"["):
            text = text[1:].removesuffix(b"]").strip().removesuffix(b",")
        if text and text != b"null":
            parts.append(text)
    return Raw(b"[%b]" % b",".join(parts))


def earlier_texts(members: Mapping[str, Raw], key: str) -> list[Raw]:
    """The earlier values of a key, in members that were `gathered`; only for a key whose values are texts."""
    if SHADOWED not in members:
        return []
    try:
        kept = _shadowed(members[SHADOWED]).get(REPEATED, {}).get(key, Raw(b"[]"))
        return _listed(kept) if bytes(kept).startswith(b"[") else [kept]
    except msgspec.DecodeError:
        return []


def merged(text: bytes, read_float: Any) -> Any:
    """The values of a valid text, as lists and dicts.

    Of a repeated key, lists are joined and objects merged; of other values the last counts, and the earlier
    ones are kept in an `Earlier`. read_float: called with the text of each number that is not a whole one.
    """

    def whole(number: str) -> Any:
        return int(number) if len(number) < _DIGITS_MAX else read_float(number)

    decoder = JSONDecoder(object_pairs_hook=_object, parse_float=read_float, parse_int=whole)
    value = decoder.decode(text.decode())
    return Merged(value) if isinstance(value, dict) else value


_DIGITS_MAX: Final = 20


def merged_pairs(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object; of a repeated key the last value counts, whatever it is."""
    members: dict[str, Any] = {}
    earlier = Earlier()
    for key, value in pairs:
        if key in members:
            earlier.keep(key, members[key])
        members[key] = value
    if earlier[REPEATED]:
        members[free_name(members)] = earlier
    return members


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    members = {}
    for key, value in pairs:
        put(members, key, value)
    return members


def put(members: dict[str, Any], key: str, value: Any) -> None:
    """Adds a member whose key may be there."""
    known = members.get(key)
    if isinstance(known, Earlier) and not isinstance(value, Earlier):
        members[free_name(members)] = known  # the name is the client's own
        members[key] = value
    elif isinstance(known, list) and isinstance(value, list):
        known.extend(value)
    elif isinstance(known, dict) and isinstance(value, dict):
        for name, each in value.items():
            put(known, name, each)
    else:
        if key in members:
            _keep(members, key)
        members[key] = value


def _keep(members: dict[str, Any], key: str) -> None:
    name = SHADOWED
    while name in members and not isinstance(members[name], Earlier):
        name = f"_{name}"
    members.setdefault(name, Earlier()).keep(key, members[key])


def free_name(members: Container[str]) -> str:
    """The key for shadowed values in an object which may have a member of that name."""
    name = SHADOWED
    while name in members:
        name = f"_{name}"
    return name
