"""Payloads of JSON rows: one object out of the members that a row holds in several places.

The members' values are never parsed: what the client wrote (1.0, 1e400, the order of keys) stays as it is.
Where two places have the same key, the first keeps it; a later one whose value differs is moved, under its
place's name, into an object `_shadowed`, so that nothing is lost and no key stands twice. (A key that stands
twice within one object is the client's own, and is left to the reader of the payload.)
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Raw

from app.decode.json_refusals import ABSENT, Refusals, joined

Members = Mapping[str, Raw]
Column = Sequence[Raw]

_SHADOWED: Final = "_shadowed"
_UNKNOWN: Final = "other"
_NULL: Final = b"null"
_NEVER = Annotated[str, msgspec.Meta(min_length=1, max_length=0)]

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode


class Places(msgspec.Struct, frozen=True):
    """Where the members of a kind's payload are found, in the order in which they are written.

    named: keys whose value becomes a member itself.
    objects: keys whose value is an object, whose members are taken; then come the row's unknown keys.
    renamed: key and name of values that become a member of another name.
    """

    named: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()


class PayloadWriter:
    """Writes the payloads of one kind of rows."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._keys = (*places.named, *places.objects, *(key for key, _ in places.renamed))
        names = [*places.named, *(name for _, name in places.renamed)]
        # Reads an object only if it has none of these keys, however they are escaped.
        untaken = msgspec.defstruct("Untaken", [(name, _NEVER, "") for name in names], gc=False)
        self._read_untaken = msgspec.json.Decoder(untaken).decode
        self._read_all_untaken = msgspec.json.Decoder(list[untaken]).decode  # type: ignore[valid-type]

    def write(
        self, texts: Mapping[str, Column], unknown: Sequence[Members | None], refusals: Refusals
    ) -> list[bytes]:
        """One payload per row.

        texts: by key, the JSON text of each row's value, empty where the row does not have the key.
        unknown: the members of each row under keys that the protocol does not know; None for none.
        Rows with something else than an object where an object belongs are refused.
        """
        given = {key: column for key in self._keys if any(map(len, column := _without_nulls(texts[key])))}
        to_merge = self._rows_to_merge(given, refusals)
        if any(unknown):
            to_merge.update(row for row, members in enumerate(unknown) if members)
            if not given and len(to_merge) == len(unknown):
                return list(map(_encode, unknown))
        payloads = self._texts(given, len(unknown)) if len(to_merge) < len(unknown) else [b""] * len(unknown)
        for row in to_merge:
            payloads[row] = _merge(self._sources(given, unknown[row], row))
        return payloads

    def _rows_to_merge(self, given: dict[str, Column], refusals: Refusals) -> set[int]:
        """The rows in which two places may have the same key. What is no object is refused, and taken out."""
        rows: set[int] = set()
        objects = [key for key in self._places.objects if key in given]
        for key in objects:
            column = given[key]
            try:
                self._read_all_untaken(joined([text for text in column if len(text)]))
            except msgspec.DecodeError:
                given[key] = self._check_singly(column, key, rows, refusals)
        for key in objects[1:]:
            rows.update(row for row, text in enumerate(given[key]) if len(text))
        return rows

    def _check_singly(self, column: Column, key: str, to_merge: set[int], refusals: Refusals) -> Column:
        objects: list[Raw] = []
        for row, text in enumerate(column):
            if len(text) and not bytes(text).startswith(b"{"):
                refusals.refuse(row, key, "must be a JSON object")
                objects.append(ABSENT)
                continue
            objects.append(text)
            try:
                self._read_untaken(text or b"{}")
            except msgspec.DecodeError:
                to_merge.add(row)
        return objects

    def _texts(self, given: Mapping[str, Column], rows: int) -> list[bytes]:
        """Payloads of rows that have at most one object, and no key twice."""
        places = self._places
        objects = [given[key] for key in places.objects if key in given]
        if len(given) == len(objects) == 1:
            return [bytes(text) or b"{}" for text in objects[0]]
        pieces = [_named(key, given[key]) for key in places.named if key in given]
        pieces.extend([bytes(text)[1:-1].strip() for text in column] for column in objects)
        pieces.extend(_named(name, given[key]) for key, name in places.renamed if key in given)
        if not pieces:
            return [b"{}"] * rows
        if all(map(all, pieces)):
            return list(map((b"{%b}" % b",".join([b"%b"] * len(pieces))).__mod__, zip(*pieces, strict=True)))
        return [b"{%b}" % b",".join(filter(None, row)) for row in zip(*pieces, strict=True)]

    def _sources(
        self, given: Mapping[str, Column], unknown: Members | None, row: int
    ) -> Iterator[tuple[str, Members]]:
        """The places of one row that have members, by name, in order."""
        places = self._places
        for key in places.named:
            if key in given and len(text := given[key][row]):
                yield key, {key: text}
        for key in places.objects:
            if key in given and len(text := given[key][row]):
                yield key, _members(text)
        if unknown:
            yield _UNKNOWN, unknown
        for key, name in places.renamed:
            if key in given and len(text := given[key][row]):
                yield key, {name: text}


def _merge(sources: Iterator[tuple[str, Members]]) -> bytes:
    merged: dict[str, Raw] = {}
    shadowed: dict[str, dict[str, Raw]] = {}
    for place, members in sources:
        if merged.keys().isdisjoint(members):
            merged.update(members)
            continue
        for key, value in members.items():
            if merged.setdefault(key, value) != value:
                shadowed.setdefault(place, {})[key] = value
    if shadowed:
        name = _SHADOWED
        while name in merged:
            name = "_" + name
        merged[name] = Raw(_encode(shadowed))
    return _encode(merged)


def _without_nulls(column: Column) -> Column:
    if len(_NULL) not in map(len, column):
        return column
    return [ABSENT if len(text) == len(_NULL) and bytes(text) == _NULL else text for text in column]


def _named(name: str, column: Column) -> list[bytes]:
    member = b'"%b":' % name.encode() + b"%b"
    return [member % text if len(text) else b"" for text in column]
