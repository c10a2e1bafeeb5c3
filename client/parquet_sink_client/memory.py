"""Batches that are held in memory until they are sent."""

from __future__ import annotations

import threading
import uuid
from collections import deque

from parquet_sink_client.batch import KINDS, Batch


class SinkFull(Exception):
    """As many bytes wait as may: the service is gone for too long, or too slow. The row was not taken."""


class MemoryStore:
    """Rows by kind, and batches in the order in which they were cut. From any thread."""

    def __init__(self, rows_max: int, batch_bytes_max: int, bytes_max: int) -> None:
        self._rows_max, self._batch_bytes_max, self._bytes_max = rows_max, batch_bytes_max, bytes_max
        self._lock = threading.Lock()
        self._rows: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
        self._row_bytes = dict.fromkeys(KINDS, 0)
        self._batches: deque[Batch] = deque()
        self._bytes = 0

    def add(self, kind: str, line: bytes) -> bool:
        """Whether a batch is full now. Raises SinkFull."""
        with self._lock:
            if self._bytes + len(line) > self._bytes_max:
                raise SinkFull(f"{self._bytes:,} bytes wait to be sent")
            self._bytes += len(line)
            if self._row_bytes[kind] + len(line) > self._batch_bytes_max:
                self._cut(kind)
            self._rows[kind].append(line)
            self._row_bytes[kind] += len(line)
            if len(self._rows[kind]) >= self._rows_max:
                self._cut(kind)
            return bool(self._batches)

    def cut(self) -> None:
        with self._lock:
            for kind in KINDS:
                self._cut(kind)

    def _cut(self, kind: str) -> None:
        rows = self._rows[kind]
        if rows:
            self._batches.append(Batch(uuid.uuid4().hex, kind, b"".join(rows), len(rows)))
            self._rows[kind], self._row_bytes[kind] = [], 0

    def first(self) -> Batch | None:
        """The batch to be sent next; it stays here until it is done."""
        with self._lock:
            return self._batches[0] if self._batches else None

    def done(self, batch: Batch) -> None:
        with self._lock:
            self._batches.remove(batch)
            self._bytes -= len(batch.body)

    def is_empty(self) -> bool:
        with self._lock:
            return not self._batches and not any(self._rows.values())

    def close(self) -> None:
        """What is left is lost with the process."""
