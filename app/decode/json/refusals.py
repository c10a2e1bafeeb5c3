"""Rows of a JSON batch that are refused alone, and how the values of one column are read from their text."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

ABSENT: Final = Raw(b"")
"""What stands for a key that a row does not have, where its text is copied."""

NULL: Final = Raw(b"null")
"""What stands for a key that a row does not have, where its value is read."""

Value = TypeVar("Value")

TOO_DEEP: Final = "nested too deeply to be read"


class Refusals(dict[int, tuple[str, str]]):
    """The field and the message by row; of several refusals of one row the first counts."""

    def refuse(self, row: int, field: str, message: str) -> None:
        """Refuse row number `row` (0-based, in the columns being read) for what is in `field`."""
        self.setdefault(row, (field, message))


def joined(texts: Sequence[Raw]) -> bytes:
    """Many JSON values as one JSON array, so that one call can read them all."""
    return b"[%b]" % b",".join(texts)


def read_one_by_one(
    texts: Sequence[Raw], parse: Callable[[Raw], Value | None], field: str, refusals: Refusals
) -> list[Value | None]:
    """The slow way to read a column: `parse` each value, and refuse the rows where it raises ValueError."""
    values: list[Value | None] = []
    for row, text in enumerate(texts):
        try:
            values.append(parse(text))
        except ValueError as error:
            refusals.refuse(row, field, str(error))
            values.append(None)
    return values


def readable(error: msgspec.DecodeError | RecursionError | UnicodeDecodeError) -> str:
    """Why a piece of JSON could not be read, in words for the client."""
    if isinstance(error, RecursionError):
        return TOO_DEEP
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}"
    if isinstance(error, msgspec.ValidationError):
        return "a row must be one JSON object"
    return f"not valid JSON: {error}"
