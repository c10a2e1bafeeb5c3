"""Which times a row may have, and the message for a time that is not allowed.

A single row in nanoseconds, read as milliseconds, would make engines fail on the whole day's file, and
seconds read as milliseconds would silently end up in January 1970. So a time outside the range is refused,
and the message says in which unit it was read.
"""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

DAY_MS: Final = 86_400_000

_REMEDY: Final = "check the unit: send milliseconds since the epoch, or an RFC 3339 time"


class TimeRange(msgspec.Struct, frozen=True):
    """The allowed times: from `first_ms`, ms since the epoch, to `ahead_ms` after the receipt."""

    first_ms: int = 0
    ahead_ms: int = 366 * DAY_MS

    def outside(
        self, times: npt.NDArray[np.int64], received_ms: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_] | None:
        """Which times are not allowed, or None if all are. times, received_ms: int64[rows], rows > 0."""
        if self.all_inside(int(times.min()), int(times.max()), received_ms):
            return None
        wrong: npt.NDArray[np.bool_] = (times < self.first_ms) | (times > received_ms + self.ahead_ms)
        return wrong if wrong.any() else None

    def all_inside(self, earliest_ms: int, latest_ms: int, received_ms: npt.NDArray[np.int64]) -> bool:
        """Whether all times between these are allowed."""
        return earliest_ms >= self.first_ms and latest_ms <= int(received_ms.min()) + self.ahead_ms

    def complaint(self, time_ms: int, unit: str, received_ms: int) -> str:
        """The message for a time outside the range. unit: the unit in which it was read."""
        first, last = as_date(self.first_ms), as_date(received_ms + self.ahead_ms)
        return f"is {as_date(time_ms)} when read as {unit}, but must be between {first} and {last}; {_REMEDY}"


def as_date(time_ms: int) -> str:
    """ms since the epoch, of any 64-bit size, as a date and a time in UTC."""
    return f"{np.datetime64(time_ms, 'ms')}Z"
