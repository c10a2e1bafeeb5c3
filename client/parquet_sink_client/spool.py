"""Batches that are held in a directory until they are sent: a row is in a file before the call returns.

`<id>.<kind>.open` is being written by a process that holds its lock; `<id>.<kind>.jsonl` is a whole batch.
The file's name is the batch's id, so a batch that is sent again after a crash is known to the service. A row
survives the end of the process; with `sync`, a power cut, too.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from pathlib import Path
from typing import IO

from parquet_sink_client.batch import KINDS, Batch

try:
    import fcntl
except ImportError:  # where there are no such locks, one process may use a directory
    fcntl = None  # type: ignore[assignment]

OPEN, WHOLE = ".open", ".jsonl"


class SpoolStore:
    """The same as MemoryStore, in files. batch_bytes_max: also of one file."""

    def __init__(
        self, directory: str | os.PathLike[str], rows_max: int, batch_bytes_max: int, *, sync: bool
    ) -> None:
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._rows_max, self._batch_bytes_max, self._sync = rows_max, batch_bytes_max, sync
        self._lock = threading.Lock()
        self._open: dict[str, tuple[IO[bytes], Path]] = {}
        self._counts = dict.fromkeys(KINDS, 0)
        self._sizes = dict.fromkeys(KINDS, 0)
        self._taken: dict[str, tuple[IO[bytes], Path]] = {}
        self._adopt()

    def add(self, kind: str, line: bytes) -> bool:
        """Whether a batch is full now. Raises OSError when the disk does not take the row."""
        with self._lock:
            if self._sizes[kind] + len(line) > self._batch_bytes_max:
                self._cut(kind)
            file, _ = self._open.get(kind) or self._begin(kind)
            file.write(line)
            file.flush()
            if self._sync:
                os.fsync(file.fileno())
            self._counts[kind] += 1
            self._sizes[kind] += len(line)
            if self._counts[kind] < self._rows_max:
                return False
            self._cut(kind)
            return True

    def cut(self) -> None:
        with self._lock:
            for kind in KINDS:
                self._cut(kind)

    def first(self) -> Batch | None:
        with self._lock:
            for path in sorted(self._directory.glob(f"*{WHOLE}")):
                name = path.name.split(".")
                if len(name) == 3 and name[1] in KINDS and self._hold(path):
                    with contextlib.suppress(OSError):
                        body = path.read_bytes()
                        return Batch(name[0], name[1], body, body.count(b"\n"))
        return None

    def done(self, batch: Batch) -> None:
        with self._lock:
            file, path = self._taken.pop(batch.batch_id)
            path.unlink()
            file.close()

    def is_empty(self) -> bool:
        """Of what this process has written or taken over; other processes send their own."""
        with self._lock:
            return not self._open and not any(self._hold(path) for path in self._directory.glob(f"*{WHOLE}"))

    def close(self) -> None:
        """Whatever is left is sent by the next process."""
        self.cut()
        with self._lock:
            for file, _ in self._taken.values():
                file.close()
            self._taken.clear()

    def _begin(self, kind: str) -> tuple[IO[bytes], Path]:
        # Names sort by time, so that what is older is sent first.
        path = self._directory / f"{time.time_ns():x}{uuid.uuid4().hex[:16]}.{kind}{OPEN}"
        file = path.open("ab")
        _locked(file)
        self._open[kind] = file, path
        return file, path

    def _cut(self, kind: str) -> None:
        found = self._open.pop(kind, None)
        self._counts[kind] = self._sizes[kind] = 0
        if found is not None:
            file, path = found
            path.rename(path.with_suffix(WHOLE))
            file.close()

    def _adopt(self) -> None:
        """Files that a process has left which is gone: their last line may be half a row, which was never
        acknowledged to its caller."""
        for path in self._directory.glob(f"*{OPEN}"):
            with contextlib.suppress(OSError), path.open("r+b") as file:
                if not _locked(file):
                    continue
                content = file.read()
                file.truncate(content.rfind(b"\n") + 1)
                if b"\n" in content:
                    path.rename(path.with_suffix(WHOLE))
                else:
                    path.unlink()

    def _hold(self, path: Path) -> bool:
        """Whether a batch is this process's to send, taken by a lock if nobody has it."""
        batch_id = path.name.split(".")[0]
        if batch_id in self._taken:
            return True
        try:
            file = path.open("r+b")
        except OSError:
            return False
        if not _locked(file) or not path.exists():
            file.close()
            return False
        self._taken[batch_id] = file, path
        return True


def _locked(file: IO[bytes]) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
