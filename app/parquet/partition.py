"""Which rows belong together in a file: workspace, date, hour and kind."""

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from app.kinds import Kind
from app.schema import SCHEMAS

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

PINNED_RATIO_MAX: Final = 2
"""A batch whose buffers are this many times larger than its rows is copied instead of kept."""

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


def split(rows: pa.RecordBatch, kind: Kind, rotation: Rotation) -> list[tuple[Partition, pa.RecordBatch]]:
    """Divide rows (columns as SCHEMAS[kind], or views of them) by partition, keeping their order.

    A batch of one partition is handed on without a copy; pieces of a divided batch are copies, so that a
    slow partition does not hold the memory of a whole group. Raises pa.ArrowInvalid for columns that cannot
    be those of SCHEMAS[kind].
    """
    if rows.num_rows == 0:
        return []
    if rows.schema != SCHEMAS[kind]:
        rows = rows.cast(SCHEMAS[kind])
    workspaces = _numbers(rows, "workspace_id")
    received = _numbers(rows, "batch_timestamp")
    first, last = int(received.min()), int(received.max())
    if first // rotation.period_ms == last // rotation.period_ms and (workspaces == workspaces[0]).all():
        return [(partition_of(int(workspaces[0]), first, kind, rotation), _unpinned(rows))]
    periods = received // rotation.period_ms
    changes = np.flatnonzero((np.diff(workspaces) != 0) | (np.diff(periods) != 0)) + 1
    starts = np.concatenate(([0], changes))
    lengths = np.diff(np.append(starts, rows.num_rows))
    runs: dict[Partition, list[pa.RecordBatch]] = {}
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        partition = _named(workspaces, periods, start, kind, rotation)
        runs.setdefault(partition, []).append(rows.slice(start, length))
    nothing = rows.slice(0, 0)  # concatenating at least two batches is what makes Arrow copy
    return [(partition, pa.concat_batches([*pieces, nothing])) for partition, pieces in runs.items()]


def _numbers(rows: pa.RecordBatch, name: str) -> np.ndarray:
    """A column as numpy; a null (a bug upstream, found when the row is encoded) counts as 0."""
    column = rows.column(rows.schema.get_field_index(name))
    if column.null_count:
        column = column.fill_null(0)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _named(
    workspaces: np.ndarray, periods: np.ndarray, row: int, kind: Kind, rotation: Rotation
) -> Partition:
    return partition_of(int(workspaces[row]), int(periods[row]) * rotation.period_ms, kind, rotation)


def _unpinned(rows: pa.RecordBatch) -> pa.RecordBatch:
    if rows.get_total_buffer_size() <= PINNED_RATIO_MAX * rows.nbytes + 4096:
        return rows
    return pa.concat_batches([rows, rows.slice(0, 0)])
