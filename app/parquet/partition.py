"""Which rows belong together in a file: workspace, date, hour and kind."""

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from app.kinds import Kind

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


_EPOCH: Final = date(1970, 1, 1)


class Rotation(StrEnum):
    """How much time one partition covers (UTC)."""

    HOURLY = "hourly"
    DAILY = "daily"

    @property
    def period_ms(self) -> int:
        return HOUR_MS if self is Rotation.HOURLY else DAY_MS


class Partition(msgspec.Struct, frozen=True, order=True, gc=False):
    """date: "YYYY-MM-DD" of the receive time in UTC. hour: 0-23, None where rotation is daily."""

    workspace_id: int
    date: str
    hour: int | None
    kind: Kind

    @property
    def start_ms(self) -> int:
        """The first ms (since the epoch) whose rows belong here."""
        midnight = datetime.fromisoformat(self.date).replace(tzinfo=UTC)
        return int(midnight.timestamp()) * 1000 + (self.hour or 0) * HOUR_MS

    @property
    def end_ms(self) -> int:
        """The first ms whose rows do not belong here any more."""
        return self.start_ms + (DAY_MS if self.hour is None else HOUR_MS)


def partition_of(workspace_id: int, received_ms: int, kind: Kind, rotation: Rotation) -> Partition:
    """The partition of a row with this `workspace_id` and `batch_timestamp`."""
    day = (_EPOCH + timedelta(days=received_ms // DAY_MS)).isoformat()
    hour = received_ms % DAY_MS // HOUR_MS if rotation is Rotation.HOURLY else None
    return Partition(workspace_id, day, hour, kind)


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
