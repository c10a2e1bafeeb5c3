"""Repeated keys in one row: the last value is used, and the earlier ones are kept, too.

Sizes show whether there are any: the texts of all values, their keys and the punctuation between them add up
to the size of the rows. Keys are counted only if they do not, because of blanks or repeated keys.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from json import JSONDecoder, decoder
from operator import is_
from typing import Final

import msgspec
import numpy as np
from msgspec import Raw

from app.decode.json.bodies import BYTE_ORDER_MARK, Reading
from app.decode.json.columns import Column, Others, Texts, joined
from app.decode.json.refusals import NULL
from app.decode.json.row_texts import after_blanks, end_of_value, texts_of_rows
from app.submission import Body

_SIGNS: Final = 4
"""Bytes that a member takes besides its key and value: two quotes, a colon, and a comma or a brace."""

_COUNT_KEYS: Final = JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=len
).decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def find_repeated(bodies: Sequence[Body], readings: Sequence[Reading], texts: Texts) -> None:
    """Add the earlier values of repeated keys to `texts.others`; `texts` has the readings' rows."""
    rows = len(texts.others.members)
    if _add_up(readings, texts.columns, texts.others, 0, rows):
        return
    if _as_many_keys(bodies, readings, texts.columns, texts.others.texts):
        return
    end = 0
    for sent, reading in zip(bodies, readings, strict=True):
        start, end = end, end + len(reading.rows)
        if not reading.rows:
            continue
        columns = {
            key: Column(column[start:end], column.default).measured() for key, column in texts.columns.items()
        }
        if _add_up([reading], columns, texts.others, start, end):
            continue
        if _as_many_keys([sent], [reading], columns, texts.others.texts[start:end]):
            continue
        for row, text in enumerate(_row_texts(sent, reading), start):
            if earlier := earlier_values(text):
                texts.others.repeated[row] = earlier


def _row_texts(sent: Body, reading: Reading) -> Iterable[bytes]:
    if reading.texts is not None:
        return reading.texts
    return texts_of_rows(bytes(sent).removeprefix(BYTE_ORDER_MARK))


def _add_up(
    readings: Sequence[Reading], columns: Mapping[str, Column], others: Others, start: int, end: int
) -> bool:
    """Whether the texts read are as long as the rows, which then contain neither blanks nor further keys."""
    size = sum(reading.size for reading in readings)
    texts = others.texts[start:end]
    expected = end - start + sum(map(len, texts)) - (len(texts) if all(texts) else sum(map(bool, texts)))
    for key, column in columns.items():
        present, bytes_of_values = _present(column)
        expected += present * (len(key) + _SIGNS) + bytes_of_values
    return size == expected


def _present(column: Column) -> tuple[int, int]:
    """How many rows have the column's key, and the bytes of its values in them."""
    if not column.size:
        return 0, 0
    present, size = len(column) if column.complete else sum(map(bool, column)), column.size
    if column.default is NULL and b"null" in column.array and (absent := sum(map(is_, column, repeat(NULL)))):
        return present - absent, size - absent * len(NULL)
    return present, size


def _as_many_keys(
    bodies: Sequence[Body],
    readings: Sequence[Reading],
    columns: Mapping[str, Column],
    others: Sequence[bytes],
) -> bool:
    """Whether bodies have as many keys, on all levels, as were read from them; False if unclear."""
    pieces = [
        sent if reading.texts is None else b"".join(reading.texts)
        for sent, reading in zip(bodies, readings, strict=True)
    ]
    there = _keys_in(b"".join(pieces))
    if there is None:
        return False
    read = [_keys_in(column.array) for column in columns.values() if column.size] + [
        _keys_in(b"".join(others))
    ]
    found = sum(keys or 0 for keys in read) + sum(_present(column)[0] for column in columns.values())
    return found == there


def _keys_in(text: bytes) -> int | None:
    """The colons behind a quote: keys, and as many more as strings hold. None where one follows a blank."""
    signs = np.frombuffer(text, np.uint8)
    before = signs[np.flatnonzero(signs == ord(":")) - 1]
    return None if (before <= ord(" ")).any() else int(np.count_nonzero(before == ord('"')))


def earlier_values(text: bytes) -> dict[str, Raw]:
    """The values of an object's keys but the last of each: one, or an array of several."""
    last = _members(text)
    if _COUNT_KEYS(text.decode()) == len(last):
        return {}
    values: dict[str, list[Raw]] = {}
    for key, value in pairs_of(text.decode()):
        values.setdefault(key, []).append(value)
    earlier = {key: given[:-1] for key, given in values.items() if len(given) > 1}
    return {key: given[0] if len(given) == 1 else Raw(joined(given)) for key, given in earlier.items()}


def members_of(text: Raw) -> tuple[dict[str, Raw], dict[str, Raw]]:
    """The members of an object, and the earlier values of repeated ones."""
    members = _members(text)
    if len(_encode(members)) == len(text):
        return members, {}
    return members, earlier_values(bytes(text))


def pairs_of(text: str) -> Iterator[tuple[str, Raw]]:
    """Keys and the texts of their values, of a valid object."""
    position = after_blanks(text, text.index("{") + 1)
    while text[position] != "}":
        key, position = decoder.scanstring(text, position + 1)  # type: ignore[attr-defined]
        position = after_blanks(text, after_blanks(text, position) + 1)
        end = end_of_value(text, position)
        yield key, Raw(text[position:end].encode())
        position = after_blanks(text, end)
        if text[position] == ",":
            position = after_blanks(text, position + 1)
