"""Joins texts of JSON members into one object per row, without parsing them."""

from collections.abc import Sequence
from itertools import chain, repeat
from operator import itemgetter
from typing import Final

import msgspec
from msgspec import Raw

_INSIDE: Final = itemgetter(slice(1, -1))

Texts = Sequence[Raw] | Sequence[bytes]


class Piece(msgspec.Struct, frozen=True):
    """A part of each row's object.

    values: one JSON text per row, empty if the row does not have this part.
    name: the key of the member with this value; None if it is an object whose members are used.
    """

    values: Texts
    name: str | None = None


def join_pieces(pieces: Sequence[Piece], rows: int) -> list[bytes]:
    """One object per row, of all its pieces in order. The caller makes sure that no key occurs twice."""
    if not pieces:
        return [b"{}"] * rows
    if len(pieces) == 1 and pieces[0].name is None:
        return [bytes(text) or b"{}" for text in pieces[0].values]
    labels = [b"" if piece.name is None else b'"%b":' % piece.name.encode() for piece in pieces]
    columns = [_members(piece.values) if piece.name is None else piece.values for piece in pieces]
    if all(map(all, columns)):
        return _join_all(labels, columns)
    labelled = [
        [label + bytes(text) if text else b"" for text in column]
        for label, column in zip(labels, columns, strict=True)
    ]
    return [b"{%b}" % b",".join(filter(None, row)) for row in zip(*labelled, strict=True)]


def _join_all(labels: list[bytes], columns: list[Texts]) -> list[bytes]:
    """The same if no row lacks a piece, without Python code per row."""
    glue = [b"{" + labels[0], *(b"," + label for label in labels[1:])]
    parts = chain.from_iterable(
        (repeat(before), column) for before, column in zip(glue, columns, strict=True)
    )
    return list(map(b"".join, zip(*parts, repeat(b"}"), strict=False)))


def _members(objects: Texts) -> list[bytes]:
    return list(map(bytes.strip, map(_INSIDE, map(bytes, objects))))
