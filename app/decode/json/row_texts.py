"""One JSON body as the texts of its rows, for examining them one by one."""

import re
from collections.abc import Iterator
from io import BytesIO
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final

from app.decode.json.refusals import TOO_DEEP
from app.errors import MalformedBatch

_BLANKS: Final = b" \t\r\n"
_SEPARATOR: Final = re.compile(r"[ \t\r\n]*")

# Only the places matter here: the values are read again, strictly, by the decoder of rows.
_ELEMENT: Final = JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def lines_of(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and text of each line that is not blank."""
    for number, line in enumerate(BytesIO(body), start=1):
        if text := line.strip(_BLANKS):
            yield number, text


def elements_of(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and text of each element of an array. Raises MalformedBatch if it cannot be read further."""
    text = body.decode("utf-8", "surrogateescape")
    position = after_blanks(text, text.index("[") + 1)
    if text[position : position + 1] == "]":
        number = 0
    else:
        number = 1
        while True:
            end = _end_of_element(text, position, number)
            yield number, text[position:end].encode("utf-8", "surrogateescape")
            position = after_blanks(text, end)
            if text[position : position + 1] != ",":
                break
            position = after_blanks(text, position + 1)
            number += 1
    if text[position : position + 1] != "]":
        raise MalformedBatch(f"the array is truncated or invalid after element {number}: expected ',' or ']'")
    if after_blanks(text, position + 1) != len(text):
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
        end = _end_of_element(text, position, 0)
        yield text[position:end].encode()
        position = after_blanks(text, end)


def _end_of_element(text: str, position: int, number: int) -> int:
    try:
        decoded: tuple[Any, int] = _ELEMENT.raw_decode(text, position)
    except JSONDecodeError as error:
        message = f"the array is truncated or invalid in element {number}: {error.msg}"
    except RecursionError:
        message = f"element {number} of the array is {TOO_DEEP}"
    else:
        return decoded[1]
    raise MalformedBatch(message)


def end_of_value(text: str, position: int) -> int:
    """The end of the valid value that begins at `position`."""
    decoded: tuple[Any, int] = _ELEMENT.raw_decode(text, position)
    return decoded[1]


def after_blanks(text: str, position: int) -> int:
    """The position of the next non-blank character from `position` on."""
    blanks = _SEPARATOR.match(text, position)
    return blanks.end() if blanks else position
