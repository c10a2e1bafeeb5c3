"""Which rows belong together in a file: workspace, date, hour and kind."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from app.kinds import Kind

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
MONTH_CHARACTERS: Final = len("YYYY-MM")


_EPOCH: Final = date(1970, 1, 1)


class Rotation(StrEnum):
    """How much time one partition covers (UTC)."""

    HOURLY = "hourly"
    DAILY = "daily"
    MONTHLY = "monthly"


class Partition(msgspec.Struct, frozen=True, order=True, gc=False):
    """date: "YYYY-MM-DD" of its time in UTC, "YYYY-MM" where rotation is monthly. hour: 0-23 where it is
    hourly, else None. Which of a row's times that is, app.parquet.placing says."""

    workspace_id: int
    date: str
    hour: int | None
    kind: Kind

    @property
    def rotation(self) -> Rotation:
        if self.hour is not None:
            return Rotation.HOURLY
        return Rotation.MONTHLY if is_month(self.date) else Rotation.DAILY

    @property
    def first_day(self) -> str:
        """Of its time, as "YYYY-MM-DD"."""
        return first_day(self.date)

    @property
    def start_ms(self) -> int:
        """The first ms (since the epoch) whose rows belong here."""
        midnight = datetime.fromisoformat(self.first_day).replace(tzinfo=UTC)
        return int(midnight.timestamp()) * 1000 + (self.hour or 0) * HOUR_MS

    @property
    def end_ms(self) -> int:
        """The first ms whose rows do not belong here any more."""
        if self.rotation is Rotation.MONTHLY:
            year, month = map(int, self.date.split("-"))
            return monthrange(year, month)[1] * DAY_MS + self.start_ms
        return self.start_ms + (DAY_MS if self.hour is None else HOUR_MS)

    def under(self, rotation: Rotation) -> "Partition":
        """The one that has the rows of this hour where `rotation` is configured."""
        if rotation is Rotation.HOURLY:
            return self
        date = self.date[:MONTH_CHARACTERS] if rotation is Rotation.MONTHLY else self.date
        return Partition(self.workspace_id, date, None, self.kind)


def is_month(date: str) -> bool:
    """Whether this is a month's "YYYY-MM"."""
    return len(date) == MONTH_CHARACTERS


def first_day(date: str) -> str:
    """The day itself, or the first one of a month."""
    return f"{date}-01" if is_month(date) else date


def overlaps(date: str, since: str | None, until: str | None) -> bool:
    """Whether a day or a month has days from `since` to `until`, both included; None: without an end."""
    size = len(date)
    return (since is None or date >= since[:size]) and (until is None or date <= until[:size])


def partition_of(workspace_id: int, time_ms: int, kind: Kind, rotation: Rotation) -> Partition:
    """The partition of a row of this workspace that is placed by this time."""
    day = (_EPOCH + timedelta(days=time_ms // DAY_MS)).isoformat()
    hour = time_ms % DAY_MS // HOUR_MS
    return Partition(workspace_id, day, hour, kind).under(rotation)


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Stands in the frames that rows were carried over to. They are all that the frames first_lsn to last_lsn
    have of this partition, as far as it was not published."""

    workspace_id: int
    date: str
    hour: int | None
    kind: Kind
    first_lsn: int
    last_lsn: int

    @property
    def partition(self) -> Partition:
        return Partition(self.workspace_id, self.date, self.hour, self.kind)


def origin_of(partition: Partition, first_lsn: int, last_lsn: int) -> Origin:
    return Origin(
        workspace_id=partition.workspace_id,
        date=partition.date,
        hour=partition.hour,
        kind=partition.kind,
        first_lsn=first_lsn,
        last_lsn=last_lsn,
    )
