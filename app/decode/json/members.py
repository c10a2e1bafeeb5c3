"""Payloads of JSON rows: one object made of the members that a row has in several places.

The members' values are never parsed: what the client wrote (1.0, 1e400, the order of keys) stays unchanged.
If two places have the same key, the first keeps it; a later one with a different value is moved, under its
place's name, into an object `_shadowed`, so that nothing is lost and no key occurs twice. If a key is
repeated in a row, the last value is used, and the earlier ones are moved likewise, as `repeated`. (Within an
object that is copied unchanged, a key may be repeated: it is the client's own.)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
from msgspec import Raw

from app.decode.json.columns import Column as MeasuredColumn
from app.decode.json.columns import Others, joined
from app.decode.json.join import Piece, join_pieces
from app.decode.json.refusals import ABSENT
from app.decode.json.repeated import members_of

Members = Mapping[str, Raw]
Column = Sequence[Raw]

_NONE: Final[Mapping[str, None]] = MappingProxyType({})
_SHADOWED: Final = "_shadowed"
_UNKNOWN: Final = "other"
_REPEATED: Final = "repeated"
_NULL: Final = b"null"
_NEVER = Annotated[str, msgspec.Meta(min_length=1, max_length=0)]

_encode = msgspec.json.Encoder().encode


class Places(msgspec.Struct, frozen=True):
    """The places of the members of a kind's payload, in the order in which they are written.

    named: keys whose value becomes a member itself.
    objects: keys whose value is an object, whose members are used; the row's unknown keys follow.
    renamed: key and name of values that become a member of another name.
    originals: keys that have a column, but whose value also becomes a member if it did not have the column's
    form.
    """

    named: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    originals: tuple[str, ...] = ()


class _Untaken:
    """Reads objects only if they have none of certain keys, however they are escaped."""

    def __init__(self, names: Sequence[str]) -> None:
        untaken = msgspec.defstruct("Untaken", [(name, _NEVER, "") for name in names], gc=False)
        self.read = msgspec.json.Decoder(untaken).decode
        self.read_all = msgspec.json.Decoder(list[untaken]).decode  # type: ignore[valid-type]


class PayloadWriter:
    """Writes the payloads of one kind of rows."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._keys = (*places.named, *places.objects, *(key for key, _ in places.renamed))
        names = [*places.named, *(name for _, name in places.renamed)]
        self._usually = _Untaken(names)
        self._with_originals = _Untaken([*names, *places.originals])

    def write(
        self,
        texts: Mapping[str, MeasuredColumn],
        others: Others,
        originals: Mapping[str, Column | None] = _NONE,
    ) -> list[bytes]:
        """One payload per row.

        texts: by key, the JSON text of each row's value, empty where the row does not have the key.
        others: the members of each row under keys that the protocol does not know.
        originals: by key of Places.originals, as `texts`; None where no row has one.
        A value that is not an object where one is expected becomes a member under its own key.
        """
        places = self._places
        given = {
            key: column for key in self._keys if texts[key].size and (column := _without_nulls(texts[key]))
        }
        kept = {key: column for key, column in originals.items() if column}
        to_merge = self._check_objects(given, self._with_originals if kept else self._usually)
        objects = [Piece(given[key]) for key in places.objects if key in given]
        unknown = others.members
        if others:
            objects.append(Piece(others.written()))
            taken = {name for key, name in places.renamed if key in given} | kept.keys()
            if taken:
                to_merge.update(
                    row for row, members in enumerate(unknown) if members and not taken.isdisjoint(members)
                )
        to_merge.update(_rows_with_several(objects), others.repeated)
        before = [Piece(given[key], key) for key in places.named if key in given]
        before += [Piece(column, key) for key, column in kept.items()]
        after = [Piece(given[key], name) for key, name in places.renamed if key in given]
        payloads = join_pieces([*before, *objects, *after], len(unknown))
        for row in to_merge:
            payloads[row] = _merge(self._sources(given, kept, unknown[row], row), others.repeated.get(row))
        return payloads

    def _check_objects(self, given: dict[str, Column], untaken: "_Untaken") -> set[int]:
        """Turn other values into objects. Returns the rows in which an object has a key that is already
        taken."""
        to_merge: set[int] = set()
        for key in self._places.objects:
            if key in given:
                try:
                    column = given[key]
                    untaken.read_all(joined(column if all(column) else list(filter(None, column))))
                except msgspec.DecodeError:
                    given[key] = _as_objects(given[key], key, untaken, to_merge)
        return to_merge

    def _sources(
        self, given: Mapping[str, Column], kept: Mapping[str, Column], unknown: Members | None, row: int
    ) -> Iterator[tuple[str, Members]]:
        """The places of one row that have members, by name, in order."""
        texts = {key: text for key, column in given.items() if (text := column[row])}
        for key in self._places.named:
            if key in texts:
                yield key, {key: texts[key]}
        for key, column in kept.items():
            if column[row]:
                yield key, {key: column[row]}
        for key in self._places.objects:
            if key in texts:
                members, earlier = members_of(texts[key])
                yield key, members
                if earlier:
                    yield f"{key}.{_REPEATED}", earlier
        if unknown:
            yield _UNKNOWN, unknown
        for key, name in self._places.renamed:
            if key in texts:
                yield key, {name: texts[key]}


def _as_objects(column: Column, key: str, untaken: _Untaken, to_merge: set[int]) -> Column:
    """The column with objects only; rows that have a key which is taken are added to `to_merge`."""
    objects: list[Raw] = []
    for row, text in enumerate(column):
        if text and not bytes(text).startswith(b"{"):
            objects.append(Raw(b'{"%b":%b}' % (key.encode(), text)))
            continue
        objects.append(text)
        try:
            untaken.read(text or b"{}")
        except msgspec.DecodeError:
            to_merge.add(row)
    return objects


def _merge(sources: Iterable[tuple[str, Members]], repeated: Members | None) -> bytes:
    merged: dict[str, Raw] = {}
    shadowed: dict[str, dict[str, Raw]] = {_REPEATED: dict(repeated)} if repeated else {}
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
