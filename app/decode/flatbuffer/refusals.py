"""Single refused rows, with the reasons."""

from collections.abc import Callable

import numpy as np

from app.decode.flatbuffer.joined_bodies import Mask, Positions
from app.submission import RowRefusal


class FlatBufferRefusals:
    """For each of `rows` rows the first reason found, if any. Rows are identified by index, from 0."""

    def __init__(self, rows: int) -> None:
        self._reason = np.zeros(rows, np.uint8)
        self._texts: list[tuple[str, Callable[[int], str]]] = []

    def add(self, wrong: Mask, field: str, message: Callable[[int], str]) -> None:
        """message: called with the index of each row that must be named in an answer."""
        if wrong.any():
            self._texts.append((field, message))
            self._reason[wrong & (self._reason == 0)] = len(self._texts)

    @property
    def refused(self) -> Mask:
        return self._reason > 0

    def __bool__(self) -> bool:
        return bool(self._texts)

    def named(self, first: int, count: int, limit: int) -> list[RowRefusal]:
        """The first `limit` refusals among the rows of one batch: `count` rows from index `first` on."""
        rows: Positions = np.flatnonzero(self._reason[first : first + count])[:limit]
        reasons = [self._texts[self._reason[first + row] - 1] for row in rows]
        return [
            RowRefusal(row + 1, field, message(first + row))
            for row, (field, message) in zip(rows.tolist(), reasons, strict=True)
        ]
