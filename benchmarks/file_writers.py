"""The same rows as files: of this service, of DuckDB's COPY, of Polars' write_parquet, of pyarrow's defaults.

All have the service's folders, and the rows of a workspace in the order of their receipt.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.laid_again import LayingPolicy
from app.parquet.layout import Layout
from app.publish.final_policy import FinalPolicy
from app.publish.interrupted import recover
from app.publish.paths import SinkPaths
from app.publish.rotation import WriterPolicy
from app.publish.writer import Writer
from benchmarks.file_rows import DAY_START_MS, HOUR_MS, WORKSPACES

DAY: Final = "2026-01-01"
MINUTE_MS: Final = 60_000


class ServiceFiles:
    """The service's own publishing without its thread; the clock is that of the rows."""

    def __init__(self, directory: Path, codec: str, **policy: Any) -> None:
        fs = DurableFS()
        paths = SinkPaths(directory, directory.with_name(f"{directory.name}.state"))
        manifest, _ = recover(fs, paths)
        self._now_ms = DAY_START_MS
        self._lsn = 0
        self.writer = Writer(
            WriterPolicy(layout=Layout(codec=codec), **policy),
            fs,
            paths,
            manifest,
            clock=lambda: self._now_ms,
            timer=lambda: self._now_ms,
            on_trim=lambda lsn: None,
            on_fatal=lambda error: None,
        )

    def put(self, rows: pa.RecordBatch, now_ms: int) -> None:
        """Rows in one journal frame, ordered by workspace as a group commit orders them."""
        self._now_ms = now_ms
        self._lsn += 1
        self.writer.put(self._lsn, Kind.EVENTS, rows)
        self.writer.turn()

    def finish(self) -> None:
        self.writer.turn(everything=True)

    def pass_days(self) -> None:
        """All that may be laid again is, and its old bytes are given back."""
        self._now_ms = DAY_START_MS + 48 * HOUR_MS
        for _ in range(10 * WORKSPACES):
            self._now_ms += MINUTE_MS
            self.writer.turn()


def service_day(directory: Path, codec: str, hours: list[pa.RecordBatch]) -> float:
    """CPU seconds. A put a minute, flushed by the default rules, as a day goes by."""
    return _day(ServiceFiles(directory, codec), hours)


def service_final(directory: Path, codec: str, hours: list[pa.RecordBatch]) -> float:
    """CPU seconds. The same day in its final form."""
    laying = LayingPolicy(layout=Layout(codec=codec))
    files = ServiceFiles(directory, codec, final=FinalPolicy(laying=laying))
    cpu_s = _day(files, hours)
    started = time.process_time()
    files.pass_days()
    return cpu_s + time.process_time() - started


def _day(files: ServiceFiles, hours: list[pa.RecordBatch]) -> float:
    cpu_s = 0.0
    for hour, rows in enumerate(hours):
        received = rows.column("batch_timestamp").to_numpy()
        for minute in range(60):
            start_ms = DAY_START_MS + hour * HOUR_MS + minute * MINUTE_MS
            first, last = np.searchsorted(received, [start_ms, start_ms + MINUTE_MS])
            if first == last:
                continue
            some = rows.slice(int(first), int(last - first)).sort_by("workspace_id")
            started = time.process_time()
            files.put(some, start_ms + MINUTE_MS - 1)
            cpu_s += time.process_time() - started
    started = time.process_time()
    files.finish()
    return cpu_s + time.process_time() - started


def service_at_once(directory: Path, codec: str, hours: list[pa.RecordBatch]) -> float:
    """CPU seconds. One flush of everything, as after a backlog."""
    files = ServiceFiles(directory, codec, flush_interval_ms=10**9, max_buffered_bytes=1 << 40,
                         max_file_bytes=1 << 40)  # fmt: skip
    ordered = [rows.sort_by("workspace_id") for rows in hours]
    started = time.process_time()
    for rows in ordered:
        files.put(rows, DAY_START_MS)
    files.finish()
    return time.process_time() - started


def duckdb_copy(directory: Path, codec: str, hours: list[pa.RecordBatch]) -> float:
    def write(table: pa.Table, path: Path) -> None:
        with duckdb.connect() as connection:
            connection.register("source", table)
            connection.execute(f"COPY source TO '{path}' (FORMAT parquet, COMPRESSION {codec})")

    return _each(directory, hours, write)


def polars_write(directory: Path, codec: str, hours: list[pa.RecordBatch]) -> float:
    frames: dict[Path, pl.DataFrame] = {}
    for path, table in _tables(directory, hours):
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        frames[path] = frame
    started = time.process_time()
    for path, frame in frames.items():
        frame.write_parquet(path, compression=codec)  # type: ignore[arg-type]  # one of its names
    return time.process_time() - started


def pyarrow_defaults(directory: Path, codec: str, hours: list[pa.RecordBatch]) -> float:
    return _each(directory, hours, lambda table, path: pq.write_table(table, path, compression=codec))


WRITERS: Final[Mapping[str, Callable[[Path, str, list[pa.RecordBatch]], float]]] = MappingProxyType(
    {
        "service": service_at_once,
        "service-day": service_day,
        "service-final": service_final,
        "duckdb": duckdb_copy,
        "polars": polars_write,
        "pyarrow": pyarrow_defaults,
    }
)


def _tables(directory: Path, hours: list[pa.RecordBatch]) -> list[tuple[Path, pa.Table]]:
    whole = pa.Table.from_batches(hours)
    found = []
    for workspace in range(1, WORKSPACES + 1):
        mask = pc.equal(whole["workspace_id"], pa.scalar(workspace, pa.uint64()))
        path = directory / str(workspace) / DAY / "events.parquet"
        path.parent.mkdir(parents=True)
        found.append((path, whole.filter(mask).combine_chunks()))
    return found


def _each(directory: Path, hours: list[pa.RecordBatch], write: Callable[[pa.Table, Path], None]) -> float:
    tables = _tables(directory, hours)
    started = time.process_time()
    for path, table in tables:
        write(table, path)
    return time.process_time() - started
