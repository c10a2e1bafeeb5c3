"""The rows of one JSON body: JSON Lines, one array of objects, or one object, distinguished by content.

A row has one of two shapes; in both the values are still the client's bytes:
- as a `row_type`, one attribute per key of the protocol, when no row of the body has other keys;
- as a dict of all its keys, when some do.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Raw

from app.decode.json.refusals import readable
from app.decode.json.row_texts import elements_of, lines_of, texts_of_rows
from app.decode.repair import repaired
from app.decode.utf8 import utf8_of
from app.errors import BodyTooLarge, MalformedBatch

Row = msgspec.Struct | dict[str, Raw]

_FIRST_BYTE: Final = re.compile(rb"[^ \t\r\n]")
_NO_ROWS: Final = "the body contains no rows: send JSON Lines, a JSON array of objects, or one JSON object"


class _Nothing(msgspec.Struct, gc=False):
    """An object whose contents are not kept: for counting rows with little memory."""


_count_lines = msgspec.json.Decoder(_Nothing).decode_lines
_count_elements = msgspec.json.Decoder(list[_Nothing]).decode


class Reading(msgspec.Struct):
    """The result of reading one body.

    rows: the rows that could be read.
    refused: number and message of those that could not.
    numbers: the 1-based line or element of each of `rows`; None when none is refused: see `row_numbers`.
    texts: the text of each of `rows`; None if they were read together.
    repaired: by reason, the indexes of those of `rows` that were repaired.
    size: bytes of the texts of `rows`, if nothing but one sign stands between two of them.
    shape: the type of all of `rows`; None where they may differ.
    """

    rows: list[Row]
    refused: list[tuple[int, str]] = []
    numbers: list[int] | None = None
    texts: list[bytes] | None = None
    repaired: dict[str, list[int]] = {}
    size: int = 0
    shape: type | None = None


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
        body = utf8_of(body)
        first = _FIRST_BYTE.search(body)
        if first is None:
            raise MalformedBatch(_NO_ROWS)
        is_array = first.group() == b"["
        rows = self._read_at_once(body, is_array, max_rows)
        if rows is None:
            reading = self._read_divided(body, is_array, max_rows)
        else:
            between = len(rows) + 1 if is_array else len(rows) - 1 + body.endswith(b"\n")
            reading = Reading(rows, size=len(body) - between, shape=type(rows[0]) if rows else None)
        if not reading.rows and not reading.refused:
            raise MalformedBatch(_NO_ROWS)
        return reading

    def _read_at_once(self, body: bytes, is_array: bool, max_rows: int) -> list[Row] | None:
        """The rows of a valid body, else None."""
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

    def _read_divided(self, body: bytes, is_array: bool, max_rows: int) -> Reading:
        """The rows of a body with a fault: it is repaired, or its row is refused."""
        if not is_array and (reading := self._read_repaired(body, max_rows)) is not None:
            return reading
        numbers: list[int] = []
        texts: list[bytes] = []
        repairs: dict[int, str] = {}
        for number, text in elements_of(body) if is_array else lines_of(body):
            _check_count(len(texts) + 1, max_rows)
            right, reason = repaired(text)
            if reason:
                repairs[number] = reason
            numbers.append(number)
            texts.append(right)
        reading = Reading([], [], [], [])
        self._read_part(numbers, texts, reading)
        reading.size = sum(map(len, reading.texts or ()))
        for index, number in enumerate(reading.numbers or ()):
            if number in repairs:
                reading.repaired.setdefault(repairs[number], []).append(index)
        return reading

    def _read_repaired(self, body: bytes, max_rows: int) -> Reading | None:
        """The rows of a body of objects whose faults can all be repaired, else None."""
        right, reason = repaired(body)
        if not reason or (rows := self._read_at_once(right, False, max_rows)) is None:
            return None
        texts = [text for _, text in lines_of(right)]
        reading = Reading(rows, [], size=len(right) - (len(rows) - 1) - right.endswith(b"\n"))
        if len(texts) != len(rows):
            reading.repaired = {reason: [0]}
            reading.texts = list(texts_of_rows(right))
            return reading
        reading.texts = texts
        changed = zip(lines_of(body), texts, strict=True)
        for index, ((_, before), after) in enumerate(changed):
            if before != after:
                reading.repaired.setdefault(repaired(before)[1], []).append(index)
        return reading

    def _read_part(self, numbers: Sequence[int], texts: Sequence[bytes], reading: Reading) -> None:
        """Read rows together if possible, else each half of them."""
        if (rows := self._read_texts(texts)) is not None:
            reading.rows += rows
            reading.numbers += numbers  # type: ignore[operator]
            reading.texts += texts  # type: ignore[operator]
        elif len(texts) > 1:
            middle = len(texts) // 2
            self._read_part(numbers[:middle], texts[:middle], reading)
            self._read_part(numbers[middle:], texts[middle:], reading)
        else:
            self._read_alone(numbers[0], texts[0], reading)

    def _read_texts(self, texts: Sequence[bytes]) -> list[Row] | None:
        # What begins with a brace and ends with one is not continued by the next: no comma stands between.
        if not all(text.startswith(b"{") and text.endswith(b"}") for text in texts):
            return None
        body = b"\n".join(texts)
        rows = self._read_at_once(body, False, len(body))
        return rows if rows is not None and len(rows) == len(texts) else None

    def _read_alone(self, number: int, text: bytes, reading: Reading) -> None:
        try:
            str(text, "utf-8")
            reading.rows.append(self._element(text))
            reading.numbers.append(number)  # type: ignore[union-attr]
            reading.texts.append(text)  # type: ignore[union-attr]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            reading.refused.append((number, readable(error)))


def row_numbers(body: bytes, reading: Reading) -> list[int]:
    """The 1-based line, counting blank ones, or the element of each of the reading's rows."""
    if reading.numbers is not None:
        return reading.numbers
    lines = [number for number, _ in lines_of(utf8_of(body))]
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
        raise BodyTooLarge(f"more than {max_rows:,} rows in one batch: send smaller batches")


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
