"""The rows of one JSON body: JSON Lines, one array of objects, or one object, told apart by content.

A row comes out in one of two shapes, and either way the values are still the client's bytes:
- as a `row_type`, one attribute per key of the protocol, when no row of the body has other keys;
- as a dict of all its keys, when some do.
"""

import re
from collections.abc import Iterator
from io import BytesIO
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Raw

from app.decode.json.refusals import TOO_DEEP, readable
from app.errors import BodyTooLarge, MalformedBatch

Row = msgspec.Struct | dict[str, Raw]

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_BLANKS: Final = b" \t\r\n"
_FIRST_BYTE: Final = re.compile(rb"[^ \t\r\n]")
_SEPARATOR: Final = re.compile(r"[ \t\r\n]*")
_NO_ROWS: Final = "the body holds no rows: send JSON Lines, a JSON array of objects, or one JSON object"

# Only the places matter here: the values are read again, strictly, by the decoder of rows.
_ELEMENT: Final = JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


class _Nothing(msgspec.Struct, gc=False):
    """An object of which nothing is kept: counts rows in little memory."""


_count_lines = msgspec.json.Decoder(_Nothing).decode_lines
_count_elements = msgspec.json.Decoder(list[_Nothing]).decode


class Reading(msgspec.Struct):
    """What became of one body.

    rows: the rows that could be read.
    refused: number and message of those that could not.
    numbers: the 1-based line or element of each of `rows`; None when none is refused: see `row_numbers`.
    """

    rows: list[Row]
    refused: list[tuple[int, str]] = []
    numbers: list[int] | None = None


class BodyReader:
    """Reads bodies whose rows have the keys of `row_type`, a Struct of Raw that forbids other keys."""

    def __init__(self, row_type: type[msgspec.Struct]) -> None:
        members = dict[str, Raw]
        self._element = msgspec.json.Decoder(members).decode
        self._readers_of_lines = (
            msgspec.json.Decoder(row_type).decode_lines,
            msgspec.json.Decoder(members).decode_lines,
        )
        self._readers_of_arrays = (
            msgspec.json.Decoder(list[row_type]).decode,  # type: ignore[valid-type]
            msgspec.json.Decoder(list[members]).decode,
        )

    def read(self, body: bytes, max_rows: int) -> Reading:
        """All rows of `body`, at most `max_rows`.

        Raises MalformedBatch when there are none, or an array cannot be read to its end; BodyTooLarge when
        there are more than `max_rows`.
        """
        body = body.removeprefix(_BYTE_ORDER_MARK)
        first = _FIRST_BYTE.search(body)
        if first is None:
            raise MalformedBatch(_NO_ROWS)
        is_array = first.group() == b"["
        rows = self._read_at_once(body, is_array, max_rows)
        reading = Reading(rows) if rows is not None else self._read_singly(body, is_array, max_rows)
        if not reading.rows and not reading.refused:
            raise MalformedBatch(_NO_ROWS)
        return reading

    def _read_at_once(self, body: bytes, is_array: bool, max_rows: int) -> list[Row] | None:
        """The rows of a body without a fault, else None."""
        if not _is_utf8(body):
            return None
        if _may_hold_more(body, max_rows) and _count(body, is_array, max_rows) is None:
            return None
        for read in self._readers_of_arrays if is_array else self._readers_of_lines:
            try:
                rows: list[Any] = read(body)
            except msgspec.ValidationError:
                continue  # another key, or a row that is no object
            except (msgspec.DecodeError, RecursionError):
                return None
            _check_count(len(rows), max_rows)
            return rows
        return None

    def _read_singly(self, body: bytes, is_array: bool, max_rows: int) -> Reading:
        reading = Reading([], [], [])
        for number, row in _elements(body) if is_array else _lines(body):
            _check_count(len(reading.rows) + len(reading.refused) + 1, max_rows)
            try:
                str(row, "utf-8")
                reading.rows.append(self._element(row))
                reading.numbers.append(number)  # type: ignore[union-attr]
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                reading.refused.append((number, readable(error)))
        return reading


def row_numbers(body: bytes, reading: Reading) -> list[int]:
    """The 1-based line, counting blank ones, or the element of each of the reading's rows."""
    if reading.numbers is not None:
        return reading.numbers
    lines = [number for number, _ in _lines(body.removeprefix(_BYTE_ORDER_MARK))]
    # As many as there are rows, unless it is an array or objects spread over lines: then the row's ordinal.
    return lines if len(lines) == len(reading.rows) > 1 else list(range(1, len(reading.rows) + 1))


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        str(body, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _check_count(count: int, max_rows: int) -> None:
    if count > max_rows:
        raise BodyTooLarge(f"more than {max_rows:,} rows in one batch: send it in smaller batches")


def _may_hold_more(body: bytes, max_rows: int) -> bool:
    """Whether rows must be counted before objects are made of them; each row has at least `{}`."""
    if len(body) <= 2 * max_rows:
        return False
    return bool(np.count_nonzero(np.frombuffer(body, np.uint8) == ord("{")) > max_rows)


def _count(body: bytes, is_array: bool, max_rows: int) -> int | None:
    """The number of rows, or None when the body is faulty. Raises BodyTooLarge above `max_rows`."""
    try:
        count = len(_count_elements(body) if is_array else _count_lines(body))
    except (msgspec.DecodeError, RecursionError):
        return None
    _check_count(count, max_rows)
    return count


def _lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and text of each line that is not blank."""
    for number, line in enumerate(BytesIO(body), start=1):
        if text := line.strip(_BLANKS):
            yield number, text


def _elements(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and text of each element of an array. Raises MalformedBatch where it cannot be read on."""
    text = body.decode("utf-8", "surrogateescape")
    position = _after_blanks(text, text.index("[") + 1)
    if text[position : position + 1] == "]":
        number = 0
    else:
        number = 1
        while True:
            end = _end_of_element(text, position, number)
            yield number, text[position:end].encode("utf-8", "surrogateescape")
            position = _after_blanks(text, end)
            if text[position : position + 1] != ",":
                break
            position = _after_blanks(text, position + 1)
            number += 1
    if text[position : position + 1] != "]":
        raise MalformedBatch(f"the array is cut off or broken after element {number}: expected ',' or ']'")
    if _after_blanks(text, position + 1) != len(text):
        raise MalformedBatch("something follows the end of the array")


def _end_of_element(text: str, position: int, number: int) -> int:
    try:
        decoded: tuple[Any, int] = _ELEMENT.raw_decode(text, position)
    except JSONDecodeError as error:
        message = f"the array is cut off or broken in element {number}: {error.msg}"
    except RecursionError:
        message = f"element {number} of the array is {TOO_DEEP}"
    else:
        return decoded[1]
    raise MalformedBatch(message)


def _after_blanks(text: str, position: int) -> int:
    blanks = _SEPARATOR.match(text, position)
    return blanks.end() if blanks else position
