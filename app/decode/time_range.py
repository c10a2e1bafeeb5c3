"""Which times a row may have, and how one that it may not have is named to its sender.

A single row in nanoseconds, read as milliseconds, makes engines fail on the whole day's file, and seconds
read as milliseconds land in January 1970 unseen. So a time outside the range is refused, and its refusal
says as what it was read.
"""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

DAY_MS: Final = 86_400_000

_REMEDY: Final = "check the unit: send milliseconds since the epoch, or an RFC 3339 time"


class TimeRange(msgspec.Struct, frozen=True):
    """The times that are taken: from `first_ms`, ms since the epoch, to `ahead_ms` after the receipt."""

    first_ms: int = 0
    ahead_ms: int = 366 * DAY_MS

    def outside(
        self, times: npt.NDArray[np.int64], received_ms: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_] | None:
        """Which times are not taken, or None when all are. times, received_ms: int64[rows], rows > 0."""
        if self.all_inside(int(times.min()), int(times.max()), received_ms):
            return None
        wrong: npt.NDArray[np.bool_] = (times < self.first_ms) | (times > received_ms + self.ahead_ms)
        return wrong if wrong.any() else None

    def all_inside(self, earliest_ms: int, latest_ms: int, received_ms: npt.NDArray[np.int64]) -> bool:
        """Whether all times between these are taken."""
        return earliest_ms >= self.first_ms and latest_ms <= int(received_ms.min()) + self.ahead_ms

    def complaint(self, time_ms: int, unit: str, received_ms: int) -> str:
        """What to tell the sender of a time that is outside. unit: as what it was read."""
        first, last = as_date(self.first_ms), as_date(received_ms + self.ahead_ms)
        return f"is {as_date(time_ms)} when read as {unit}, and must lie in {first} .. {last}; {_REMEDY}"


def as_date(time_ms: int) -> str:
    """ms since the epoch, of any 64-bit size, as a date and a time in UTC."""
    return f"{np.datetime64(time_ms, 'ms')}Z"
