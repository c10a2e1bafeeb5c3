"""One JSON body as the texts of its rows, for examining them one by one."""

import re
from collections.abc import Iterator
from io import BytesIO
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final

from app.decode.json.refusals import TOO_DEEP
from app.errors import MalformedBatch

_BLANKS: Final = b" \t\r\n"
_BLANK_CHARACTERS: Final = _BLANKS.decode()
_SEPARATOR: Final = re.compile(r"[ \t\r\n]*")

_STRING: Final = r'"(?:[^"\\]++|\\.)*+"'
# All repetitions are possessive, so that each character is examined once.
_NEXT_SIGN: Final = re.compile(rf'(?:[^"\[\]{{}},]++|{_STRING})*+([\[\]{{}},])', re.DOTALL)
_NEXT_BRACKET: Final = re.compile(rf'(?:[^"\[\]{{}}]++|{_STRING})*+([\[\]{{}}])', re.DOTALL)
_CLOSED_BY: Final = {"[": "]", "{": "}"}
_SIGNS_MAX: Final = 1_000_000
"""Signs that are looked at to tell the elements of a faulty array apart, in half a second at most. 100,000
rows with four objects in each have fewer."""

_DEPTH_MAX: Final = 10_000
"""Open brackets at a time. Rows are nested far less deeply: this bounds memory."""

# Only the places matter here: the values are read again, strictly, by the decoder of rows.
_ELEMENT: Final = JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def lines_of(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and text of each line that is not blank."""
    for number, line in enumerate(BytesIO(body), start=1):
        if text := line.strip(_BLANKS):
            yield number, text


def elements_of(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and text of each element of an array. From the first element on that is not valid JSON they are
    told apart by brackets and commas alone. Raises MalformedBatch if the array does not end."""
    text = body.decode("utf-8", "surrogateescape")
    position = after_blanks(text, text.index("[") + 1)
    if text[position : position + 1] == "]":
        number = 0
    else:
        number = 1
        while True:
            end = _end_of_valid_element(text, position)
            if end is None:
                yield from _elements_by_brackets(text, position, number)
                return
            yield number, text[position:end].encode("utf-8", "surrogateescape")
            position = after_blanks(text, end)
            if text[position : position + 1] != ",":
                break
            position = after_blanks(text, position + 1)
            number += 1
    _check_ends(text, position + 1)


def _elements_by_brackets(text: str, start: int, number: int) -> Iterator[tuple[int, bytes]]:
    """Elements from the one at `start` on, valid or not; a comma before the end begins no other one."""
    open_brackets: list[str] = []
    position = start
    for _ in range(_SIGNS_MAX):
        found = (_NEXT_BRACKET if open_brackets else _NEXT_SIGN).match(text, position)
        if found is None:
            break
        sign, position = found[1], found.end()
        if sign in _CLOSED_BY:
            if len(open_brackets) == _DEPTH_MAX:
                raise MalformedBatch(f"element {number} of the array is {TOO_DEEP}")
            open_brackets.append(_CLOSED_BY[sign])
        elif open_brackets:
            if sign != open_brackets.pop():
                break
        elif sign == "}":
            break
        else:
            element = text[start : position - 1].strip(_BLANK_CHARACTERS)
            if element or sign == ",":
                yield number, element.encode("utf-8", "surrogateescape")
            if sign == "]":
                _check_ends(text, position)
                return
            start, number = position, number + 1
    raise MalformedBatch(f"the array is truncated or invalid in element {number}, and its end was not found")


def _check_ends(text: str, end: int) -> None:
    if after_blanks(text, end) != len(text):
        raise MalformedBatch("there is extra data after the end of the array")


def texts_of_rows(body: bytes) -> Iterator[bytes]:
    """The text of each row of a valid body."""
    if body.lstrip(_BLANKS).startswith(b"["):
        return (text for _, text in elements_of(body))
    return _objects_of(body)


def _objects_of(body: bytes) -> Iterator[bytes]:
    """The text of each object of a body that contains only objects, on separate lines or not."""
    text = body.decode()
    position = after_blanks(text, 0)
    while position < len(text):
        end = end_of_value(text, position)
        yield text[position:end].encode()
        position = after_blanks(text, end)


def _end_of_valid_element(text: str, position: int) -> int | None:
    """None if the element is not valid, or is followed by neither a comma nor the end of the array."""
    try:
        end = end_of_value(text, position)
    except (JSONDecodeError, RecursionError):
        return None
    after = after_blanks(text, end)
    return end if text[after : after + 1] in ("]", ",") else None


def end_of_value(text: str, position: int) -> int:
    """The end of the valid value that begins at `position`."""
    decoded: tuple[Any, int] = _ELEMENT.raw_decode(text, position)
    return decoded[1]


def after_blanks(text: str, position: int) -> int:
    """The position of the next non-blank character from `position` on."""
    blanks = _SEPARATOR.match(text, position)
    return blanks.end() if blanks else position
