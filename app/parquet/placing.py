"""Which of a row's times determines its partition: when it was received, or when it happened."""

from typing import Final

import msgspec
import numpy as np

from app.parquet.partition import DAY_MS, HOUR_MS

AHEAD_MS: Final = HOUR_MS
"""A row whose own time is at most this long after its receipt (a fast clock) is still placed by its own
time."""


class Placing(msgspec.Struct, frozen=True):
    """late_ms: a row that happened at most this long before its receipt is placed by when it happened; None:
    every row is placed by its receipt."""

    late_ms: int | None = None


class Change(msgspec.Struct, frozen=True):
    """from_lsn: the first journal frame whose rows are placed so."""

    from_lsn: int
    placing: Placing


class Placings(msgspec.Struct, frozen=True):
    """How the rows of each journal frame are placed: always in the same way, whatever is configured later.

    A frame may be divided again after a restart; if it were divided in another way then, a row could be
    looked for in a partition that it was never in. changes: in the order of their frames. Before the first
    one, rows are placed by their receipt.
    """

    changes: tuple[Change, ...] = ()

    @property
    def now(self) -> Placing:
        return self.changes[-1].placing if self.changes else Placing()

    def at(self, lsn: int) -> Placing:
        """How the rows of this frame are placed."""
        found = (change.placing for change in reversed(self.changes) if change.from_lsn <= lsn)
        return next(found, Placing())

    @property
    def late_ms(self) -> int:
        """How long after its time a partition may get rows now."""
        return self.now.late_ms or 0

    @property
    def spread_ms(self) -> int | None:
        """How long after a partition's time rows of it may ever have been received; None: never."""
        ever = [change.placing.late_ms for change in self.changes if change.placing.late_ms is not None]
        return max(ever) if ever else None

    def changed(self, placing: Placing, from_lsn: int) -> "Placings":
        """With this one from that frame on."""
        kept = Placings(tuple(change for change in self.changes if change.from_lsn < from_lsn))
        return kept if placing == kept.now else Placings((*kept.changes, Change(from_lsn, placing)))


def placed_ms(happened_ms: np.ndarray, received_ms: np.ndarray, placing: Placing) -> np.ndarray:
    """The time of each row that names its partition, ms since the epoch."""
    if placing.late_ms is None:
        return received_ms
    fits = (happened_ms >= received_ms - placing.late_ms) & (happened_ms <= received_ms + AHEAD_MS)
    return np.where(fits & (happened_ms >= 0), happened_ms, received_ms)


def days_of(ms: int) -> int:
    """The smallest number of whole days that is at least as long."""
    return -(-ms // DAY_MS)
