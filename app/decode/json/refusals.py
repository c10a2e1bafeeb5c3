"""Single refused rows of a JSON batch, and how the values of one column are read from their text."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

ABSENT: Final = Raw(b"")
"""Stands for a key that a row does not have, where its text is copied."""

NULL: Final = Raw(b"null")
"""Stands for a key that a row does not have, where its value is read."""

Value = TypeVar("Value")

TOO_DEEP: Final = "nested too deeply"


class JsonRefusals(dict[int, tuple[str, str]]):
    """The field and the message by row; of several refusals of one row the first is kept.

    repairs: the rows with repaired values, by reason and field.
    """

    def __init__(self) -> None:
        super().__init__()
        self.repairs: dict[tuple[str, str], list[int]] = {}

    def repaired(self, reason: str, field: str, rows: Iterable[int]) -> None:
        """Note what was repaired in some rows, for the operator to see."""
        self.repairs.setdefault((reason, field), []).extend(rows)

    def refuse(self, row: int, field: str, message: str) -> None:
        """Refuse row number `row` (0-based, in the columns being read) because of `field`."""
        self.setdefault(row, (field, message))


ONE_BY_ONE: Final = 8
"""Values are read one by one if they cannot be read together."""


def read_in_parts(
    texts: Sequence[Raw],
    together: Callable[[Sequence[Raw]], Sequence[Value] | None],
    parse: Callable[[Raw], Value],
    field: str,
    refusals: JsonRefusals,
    *,
    absent: Value,
    first: int = 0,
) -> list[Sequence[Value]]:
    """A column in as few parts as can be read `together`, in order, so that one unusual value costs little.

    together: returns the values of some texts, or None if it cannot read one of them.
    parse: returns one value; raises ValueError for a row that must be refused. absent: the value in refused
        rows.
    first: the row of the first text.
    """
    if (values := together(texts)) is not None:
        return [values]
    if len(texts) <= ONE_BY_ONE:
        return [_one_by_one(texts, parse, field, refusals, absent, first)]
    middle = len(texts) // 2
    return [
        part
        for start, some in ((0, texts[:middle]), (middle, texts[middle:]))
        for part in read_in_parts(some, together, parse, field, refusals, absent=absent, first=first + start)
    ]


def _one_by_one(
    texts: Sequence[Raw],
    parse: Callable[[Raw], Value],
    field: str,
    refusals: JsonRefusals,
    absent: Value,
    first: int,
) -> list[Value]:
    """Each value alone; the rows where `parse` raises ValueError are refused."""
    values: list[Value] = []
    for row, text in enumerate(texts, first):
        try:
            values.append(parse(text))
        except ValueError as error:
            refusals.refuse(row, field, str(error))
            values.append(absent)
    return values


def readable(error: msgspec.DecodeError | RecursionError | UnicodeDecodeError) -> str:
    """Why a piece of JSON could not be read, as a message for the client."""
    if isinstance(error, RecursionError):
        return TOO_DEEP
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}"
    if isinstance(error, msgspec.ValidationError):
        return "a row must be one JSON object"
    return f"not valid JSON: {error}"
