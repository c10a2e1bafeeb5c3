"""What a client sent and what it was answered, written down by the client itself.

Each line is on disk before the request goes out, and again before the next one does, so that nothing that
the service does can change what was promised.
"""

import json
import os
import threading
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

MARK: Final = "row"
"""In the payload of every row: its number, different for every row ever sent."""


class Outcome(StrEnum):
    """accepted: 202, the rows must be there. refused: a 4xx, 429, 503 or 507, they must not.
    unknown: no answer, or one that says so: the batch must be there whole or not at all."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Batch(msgspec.Struct):
    """Rows first … first + rows - 1 of one kind and workspace. key: the Idempotency-Key, if it had one.

    flatbuffer: in which format it was sent, once it was.
    """

    first: int
    rows: int
    kind: str
    workspace: int
    key: str | None = None
    outcome: Outcome = Outcome.UNKNOWN
    status: int | None = None
    flatbuffer: bool | None = None

    @property
    def is_accepted(self) -> bool:
        return self.outcome is Outcome.ACCEPTED

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.rows)


class Ledger:
    """Every batch of a campaign. Used by several threads.

    synced: False where nothing but the service can end, and being slow would spoil the campaign.
    """

    def __init__(self, path: Path, *, synced: bool = True) -> None:
        self._synced = synced
        self._file = path.open("ab")
        self._lock = threading.Lock()
        self._next = 1
        self.batches: list[Batch] = []

    def sending(self, kind: str, workspace: int, rows: int, key: str | None = None) -> Batch:
        """Numbers the rows of a batch that is about to be sent."""
        with self._lock:
            batch = Batch(self._next, rows, kind, workspace, key)
            self._next += rows
            self.batches.append(batch)
            self._write({"send": batch.first, "rows": rows, "kind": kind, "workspace": workspace, "key": key})
        return batch

    def answered(self, batch: Batch, outcome: Outcome, status: int | None) -> None:
        with self._lock:
            batch.outcome, batch.status = outcome, status
            self._write({"answer": batch.first, "outcome": outcome, "status": status})

    def close(self) -> None:
        self._file.close()

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        if self._synced:
            os.fdatasync(self._file.fileno())

    def count(self, outcome: Outcome) -> int:
        return sum(batch.rows for batch in self.batches if batch.outcome is outcome)
