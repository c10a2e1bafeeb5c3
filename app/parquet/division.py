"""Rows divided by partition: by workspace, and by the hour, day or month that their time is in."""

from typing import Final

import numpy as np
import pyarrow as pa

from app.kinds import Kind
from app.parquet.partition import DAY_MS, HOUR_MS, Partition, Rotation, partition_of
from app.parquet.placing import Placing, placed_ms
from app.schema import SCHEMAS

PINNED_RATIO_MAX: Final = 2
"""A batch whose buffers are this many times larger than its rows is copied, so that they can be freed."""


def split(
    rows: pa.RecordBatch, kind: Kind, rotation: Rotation, placing: Placing
) -> list[tuple[Partition, pa.RecordBatch]]:
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
    times = placed_ms(_numbers(rows, "timestamp"), _numbers(rows, "batch_timestamp"), placing)
    first, last = int(times.min()), int(times.max())
    ends = _periods(np.array([first, last]), rotation)
    if ends[0] == ends[1] and (workspaces == workspaces[0]).all():
        return [(partition_of(int(workspaces[0]), first, kind, rotation), _unpinned(rows))]
    periods = _periods(times, rotation)
    changes = np.flatnonzero((np.diff(workspaces) != 0) | (np.diff(periods) != 0)) + 1
    starts = np.concatenate(([0], changes))
    lengths = np.diff(np.append(starts, rows.num_rows))
    runs: dict[Partition, list[pa.RecordBatch]] = {}
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        partition = partition_of(int(workspaces[start]), int(times[start]), kind, rotation)
        runs.setdefault(partition, []).append(rows.slice(start, length))
    nothing = rows.slice(0, 0)  # concatenating at least two batches is what makes Arrow copy
    return [(partition, pa.concat_batches([*pieces, nothing])) for partition, pieces in runs.items()]


def _numbers(rows: pa.RecordBatch, name: str) -> np.ndarray:
    """A column as numpy; a null (a bug upstream, found when the row is encoded) counts as 0."""
    column = rows.column(rows.schema.get_field_index(name))
    if column.null_count:
        column = column.fill_null(0)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _periods(times_ms: np.ndarray, rotation: Rotation) -> np.ndarray:
    """The number of the hour, day or month of each time, from the epoch on."""
    if rotation is Rotation.MONTHLY:
        return times_ms.astype("M8[ms]").astype("M8[M]").astype(np.int64)
    return times_ms // (HOUR_MS if rotation is Rotation.HOURLY else DAY_MS)


def _unpinned(rows: pa.RecordBatch) -> pa.RecordBatch:
    if rows.get_total_buffer_size() <= PINNED_RATIO_MAX * rows.nbytes + 4096:
        return rows
    return pa.concat_batches([rows, rows.slice(0, 0)])
