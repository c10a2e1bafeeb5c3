"""Payloads of JSON rows: one object out of the members that a row holds in several places.

The members' values are never parsed: what the client wrote (1.0, 1e400, the order of keys) stays as it is.
Where two places have the same key, the first keeps it; a later one whose value differs is moved, under its
place's name, into an object `_shadowed`, so that nothing is lost and no key stands twice. (A key that stands
twice within one object is the client's own, and is left to the reader of the payload.)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Raw

from app.decode.json.join import Piece, join_pieces
from app.decode.json.refusals import ABSENT, Refusals, joined

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
        places = self._places
        given = {key: column for key in self._keys if (column := _without_nulls(texts[key]))}
        to_merge = self._check_objects(given, refusals)
        objects = [Piece(given[key]) for key in places.objects if key in given]
        if any(unknown):
            objects.append(Piece([_encode(members) if members else b"" for members in unknown]))
            for key, name in places.renamed:
                if key in given:
                    to_merge.update(row for row, members in enumerate(unknown) if members and name in members)
        to_merge.update(_rows_with_several(objects))
        before = [Piece(given[key], key) for key in places.named if key in given]
        after = [Piece(given[key], name) for key, name in places.renamed if key in given]
        payloads = join_pieces([*before, *objects, *after], len(unknown))
        for row in to_merge:
            payloads[row] = _merge(self._sources(given, unknown[row], row))
        return payloads

    def _check_objects(self, given: dict[str, Column], refusals: Refusals) -> set[int]:
        """Refuse, and take out, what is no object. Returns the rows in which an object has a taken key."""
        to_merge: set[int] = set()
        for key in self._places.objects:
            if key in given:
                try:
                    self._read_all_untaken(joined(list(filter(None, given[key]))))
                except msgspec.DecodeError:
                    given[key] = self._check_singly(given[key], key, to_merge, refusals)
        return to_merge

    def _check_singly(self, column: Column, key: str, to_merge: set[int], refusals: Refusals) -> Column:
        objects: list[Raw] = []
        for row, text in enumerate(column):
            if text and not bytes(text).startswith(b"{"):
                refusals.refuse(row, key, "must be a JSON object")
                objects.append(ABSENT)
                continue
            objects.append(text)
            try:
                self._read_untaken(text or b"{}")
            except msgspec.DecodeError:
                to_merge.add(row)
        return objects

    def _sources(
        self, given: Mapping[str, Column], unknown: Members | None, row: int
    ) -> Iterator[tuple[str, Members]]:
        """The places of one row that have members, by name, in order."""
        texts = {key: text for key, column in given.items() if (text := column[row])}
        for key in self._places.named:
            if key in texts:
                yield key, {key: texts[key]}
        for key in self._places.objects:
            if key in texts:
                yield key, _members(texts[key])
        if unknown:
            yield _UNKNOWN, unknown
        for key, name in self._places.renamed:
            if key in texts:
                yield key, {name: texts[key]}


def _merge(sources: Iterable[tuple[str, Members]]) -> bytes:
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


def _without_nulls(column: Column) -> Column | None:
    """The column with nulls as absent values; None when no row has the value."""
    sizes = set(map(len, column))
    if len(_NULL) in sizes:
        column = [ABSENT if len(text) == len(_NULL) and bytes(text) == _NULL else text for text in column]
        sizes = set(map(len, column))
    return column if sizes != {0} else None


def _rows_with_several(pieces: Sequence[Piece]) -> Iterator[int]:
    """The rows that have more than one of the pieces."""
    if len(pieces) > 1:
        counts = map(sum, zip(*(map(bool, piece.values) for piece in pieces), strict=True))
        yield from (row for row, count in enumerate(counts) if count > 1)
