"""Rows of JSON bodies, turned by 90 degrees: per key the texts of all rows."""

from collections.abc import Sequence
from itertools import groupby, repeat
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import astuple

from app.decode.json.bodies import Row
from app.decode.json.members import Members


class Texts(msgspec.Struct):
    """columns: by key of the row type, the JSON text of each row's value. unknown: its other members."""

    columns: dict[str, list[Raw]]
    unknown: list[Members | None]


class ColumnTaker:
    """Takes the values of a row type's keys out of rows."""

    def __init__(self, row_type: type[msgspec.Struct]) -> None:
        self._keys: Final = row_type.__struct_fields__
        self._defaults: Final = row_type.__struct_defaults__

    def take(self, rows: Sequence[Row]) -> Texts:
        """The texts of all rows. Rows that are dicts lose their known keys, and stand in `unknown`."""
        taken = Texts({key: [] for key in self._keys}, [])
        for shape, run in groupby(rows, type):
            if shape is dict:
                self._take_from_dicts(list(run), taken)  # type: ignore[arg-type]
            else:
                columns = list(zip(*map(astuple, run), strict=True))  # type: ignore[arg-type]
                for key, column in zip(self._keys, columns, strict=True):
                    taken.columns[key].extend(column)
                taken.unknown.extend(repeat(None, len(columns[0])))
        return taken

    def _take_from_dicts(self, rows: list[dict[str, Raw]], taken: Texts) -> None:
        for key, default in zip(self._keys, self._defaults, strict=True):
            taken.columns[key].extend(map(dict.pop, rows, repeat(key), repeat(default)))
        taken.unknown.extend(rows)
