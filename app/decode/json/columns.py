"""Rows of JSON bodies in columnar form: per key the texts of all rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, repeat
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import astuple

from app.decode.json.bodies import Reading, Row
from app.decode.json.refusals import ABSENT, NULL

_encode = msgspec.json.Encoder().encode


class Column(list[Raw]):
    """The JSON text of one key's value in each row, or `default` if a row lacks the key.

    array: all of them as one JSON array, if none is absent, so that one call can read them all; empty if
        all are absent.
    size: bytes of all of them. complete: whether no row is without a text.
    These are as they were when the column was last `measured`.
    """

    array: bytes
    size: int
    complete: bool

    def __init__(self, texts: Iterable[Raw] = (), default: Raw = ABSENT) -> None:
        super().__init__(texts)
        self.default = default

    def measured(self) -> "Column":
        self.complete = self.default is NULL or all(self)
        if not self.complete and not any(self):
            self.array, self.size = b"", 0
            return self
        self.array = b"[%b]" % b",".join(self)
        self.size = len(self.array) - 1 - len(self)
        return self


def joined(texts: Sequence[Raw]) -> bytes:
    """Many JSON values as one JSON array, so that one call can read them all."""
    return texts.array if isinstance(texts, Column) else b"[%b]" % b",".join(texts)


class Others(msgspec.Struct):
    """The members of rows other than the keys of the protocol.

    members: per row the members that the protocol does not know; None for none.
    texts: per row the same as JSON; empty for none. Rows in `changed` are not what `members` says any more.
    some: whether any row has any.
    repeated: by row, the earlier values of keys that occur in it more than once.
    """

    members: list[dict[str, Raw] | None]
    texts: list[bytes]
    some: bool
    changed: set[int] = set()
    repeated: dict[int, Mapping[str, Raw]] = {}

    def __bool__(self) -> bool:
        return self.some

    def of(self, row: int) -> dict[str, Raw]:
        """The members of a row, to be changed."""
        if not self.texts:
            self.texts = [b""] * len(self.members)
        members = self.members[row] = self.members[row] or {}
        self.some = True
        self.changed.add(row)
        return members

    def written(self) -> list[bytes]:
        """The texts, up to date."""
        for row in self.changed:
            members = self.members[row]
            self.texts[row] = _encode(members) if members else b""
        self.changed = set()
        return self.texts


class Texts(msgspec.Struct):
    """columns: by key of the row type, the texts of all rows."""

    columns: dict[str, Column]
    others: Others


class ColumnTaker:
    """Takes the values of a row type's keys out of rows."""

    def __init__(self, row_type: type[msgspec.Struct]) -> None:
        self._keys: Final = row_type.__struct_fields__
        self._defaults: Final = row_type.__struct_defaults__

    def take(self, readings: Iterable[Reading]) -> Texts:
        """The texts of all rows. Known keys are removed from rows that are dicts, and the rest goes to
        `others`."""
        columns = {key: Column((), default) for key, default in zip(self._keys, self._defaults, strict=True)}
        members: list[dict[str, Raw] | None] = []
        for shape, rows in _runs(readings):
            if shape is dict:
                self._take_from_dicts(rows, columns)  # type: ignore[arg-type]
                members.extend(rows)  # type: ignore[arg-type]
            else:
                taken = list(zip(*map(astuple, rows), strict=True))  # type: ignore[arg-type]
                for key, values in zip(self._keys, taken, strict=True):
                    columns[key].extend(values)
                members.extend(repeat(None, len(rows)))
        for column in columns.values():
            column.measured()
        some = any(members)
        texts = [_encode(each) if each else b"" for each in members] if some else []
        return Texts(columns, Others(members, texts, some))

    def _take_from_dicts(self, rows: list[dict[str, Raw]], columns: dict[str, Column]) -> None:
        for key, default in zip(self._keys, self._defaults, strict=True):
            columns[key].extend(map(dict.pop, rows, repeat(key), repeat(default)))


def _runs(readings: Iterable[Reading]) -> Iterator[tuple[type, list[Row]]]:
    """The rows of all readings in order, as few runs of one type each."""
    for shape, run in groupby((reading for reading in readings if reading.rows), attrgetter("shape")):
        lists = [reading.rows for reading in run]
        rows = lists[0] if len(lists) == 1 else list(chain.from_iterable(lists))
        if shape is not None:
            yield shape, rows
            continue
        for each, some in groupby(rows, type):
            yield each, list(some)
