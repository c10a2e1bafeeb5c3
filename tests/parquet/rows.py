"""Rows to publish, and how to read them back without the service's code."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.kinds import Kind
from app.schema import SCHEMAS

NOON_MS = 1_767_268_800_000
"""2026-01-01T12:00:00Z"""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def event_rows(
    first: int,
    count: int,
    *,
    workspace_id: int = 7,
    received_ms: int = NOON_MS,
    payload_bytes: int = 60,
    seed: int = 0,
) -> pa.RecordBatch:
    """Events whose timestamps are first, first + 1, …: so a row is known by its timestamp."""
    rng = np.random.default_rng((seed, first))
    ids = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), count, [None, pa.py_buffer(rng.bytes(16 * count))]
    )
    noise = rng.bytes(count * (payload_bytes // 2)).hex().encode()
    step = len(noise) // count if count else 0
    payloads = [b'{"n":%d,"x":"%s"}' % (first + i, noise[i * step : (i + 1) * step]) for i in range(count)]
    return pa.record_batch(
        [
            np.arange(first, first + count),
            np.full(count, received_ms),
            np.full(count, workspace_id, "u8"),
            pa.array(["track", "identify", "group", "alias"]).take(pa.array(rng.integers(0, 4, count))),
            pa.array([f"name {i % 37}" for i in range(count)], pa.string()),
            ids,
            ids,
            pa.array([bytes(10) + b"\xff\xff\x01\x02\x03\x04"] * count, pa.binary(16)),
            pa.array(payloads, pa.binary()),
        ],
        schema=SCHEMAS[Kind.EVENTS],
    )


def snapshot_rows(
    first: int, count: int, *, workspace_id: int = 7, received_ms: int = NOON_MS
) -> pa.RecordBatch:
    return pa.record_batch(
        [
            np.arange(first, first + count),
            np.full(count, received_ms),
            np.full(count, workspace_id, "u8"),
            pa.array(["source"] * count, pa.string()),
            pa.array([f"entity {i}" for i in range(count)], pa.string()),
            pa.array([bytes(16)] * count, pa.binary(16)),
            pa.array([b"{}"] * count, pa.binary()),
        ],
        schema=SCHEMAS[Kind.SNAPSHOTS],
    )


def log_rows(first: int, count: int) -> pa.RecordBatch:
    numbers = range(first, first + count)
    return pa.record_batch(
        [
            np.arange(first, first + count),
            np.full(count, NOON_MS),
            np.full(count, 7, "u8"),
            pa.array(["info", "error"]).take(pa.array([number % 2 for number in numbers])),
            pa.array(["log"] * count, pa.string()),
            pa.array([None if number % 3 else "web" for number in numbers], pa.string()),
            pa.array(["shop"] * count, pa.string()),
            pa.array(
                [None if number % 2 else bytes([number % 256] * 16) for number in numbers], pa.binary(16)
            ),
            pa.array([bytes(16)] * count, pa.binary(16)),
            pa.array([b"{}"] * count, pa.binary()),
        ],
        schema=SCHEMAS[Kind.LOGS],
    )


def over_days(rows: pa.RecordBatch) -> pa.RecordBatch:
    """As if they had happened on the day of receipt and the six days before it, each at a time of its own."""
    happened = [NOON_MS + number - number % 7 * DAY_MS for number in rows.column("timestamp").to_pylist()]
    return rows.set_column(0, rows.schema.field(0), pa.array(happened, pa.int64()))


def published(data: Path, pattern: str = "**/*.parquet") -> dict[str, list[int]]:
    """Timestamps in each file below `data`, by path; every file is read in full."""
    found = {}
    for path in sorted(data.glob(pattern)):
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
        table.validate(full=True)
        found[path.relative_to(data).as_posix()] = table["timestamp"].to_pylist()
    return found


def all_timestamps(data: Path) -> list[int]:
    return sorted(t for timestamps in published(data).values() for t in timestamps)
