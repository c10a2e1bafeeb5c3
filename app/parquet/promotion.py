"""Promoted columns: members of the payload's JSON as columns of their own.

The payload keeps everything. A value that does not fit its column's type is null there, and counted; an
absent member and a JSON null are null, and not counted.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from app.kinds import COLUMNS, Kind

PROMOTIONS_MAX: Final = 64
"""Each column costs some 60 bytes in every footer that stays in a file."""

_MEMBER: Final = re.compile(r'\.(?:([A-Za-z0-9_-]+)|"([^"\\\x00-\x1f]+)")')


class PromotedType(StrEnum):
    """What JSON fits: any string; 64 bits without a fraction (5, not 5.0); any number; true and false."""

    STRING = "string"
    INTEGER = "integer"
    DOUBLE = "double"
    BOOLEAN = "boolean"


class Promotion(msgspec.Struct, frozen=True):
    """path: names of members from the outermost to the one that is taken. name: of the column."""

    kind: Kind
    path: tuple[str, ...]
    name: str
    type: PromotedType


def parse_path(text: str) -> tuple[str, ...]:
    """The members of a path such as `$.page`, `$.cart.total` or `$."a name"`. Raises ValueError."""
    found = [match.groups() for match in _MEMBER.finditer(text)]
    written = "".join(f".{plain}" if plain else f'."{quoted}"' for plain, quoted in found)
    if not found or text != f"${written}":
        raise ValueError(
            f'{text!r} is not a path to a field; write it like $.page, $.cart.total or $."a name"'
        )
    return tuple(plain or quoted for plain, quoted in found)


def refuse_conflicts(promotions: Sequence[Promotion]) -> None:
    """Raises ValueError for columns of one name in one kind of file, and for paths that meet.

    Names are compared without regard to case, since DuckDB and Spark do so.
    """
    for number, one in enumerate(promotions):
        if one.name.lower() in COLUMNS[one.kind]:
            raise ValueError(f'{one.kind} have a column "{one.name}" already; rename the promoted one')
        for other in promotions[:number]:
            if one.kind is not other.kind:
                continue
            if one.name.lower() == other.name.lower():
                raise ValueError(f'two promoted columns of {one.kind} are named "{one.name}"')
            length = min(len(one.path), len(other.path))
            if one.path[:length] == other.path[:length]:
                raise ValueError(
                    f'the paths of "{other.name}" and "{one.name}" overlap: a field can be promoted only '
                    "once, and not together with fields inside it"
                )
