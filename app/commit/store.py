"""What a group is made durable by, as the pipeline sees it, and the account of what was accepted."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from app.kinds import Kind


class Appended(Protocol):
    """first_lsn: of the first frame appended; the others follow it one by one."""

    @property
    def first_lsn(self) -> int: ...
    @property
    def sync_seconds(self) -> float: ...


class Journal(Protocol):
    """Where a group becomes durable: `append` returns when it is."""

    def append(self, payloads: Sequence[Sequence[bytes | pa.Buffer]]) -> Appended: ...
    def mark(self) -> None: ...


class Writer(Protocol):
    """Takes rows that are durable; never blocks. buffered_bytes: what it holds of them."""

    @property
    def buffered_bytes(self) -> int: ...
    def put(self, lsn: int, kind: Kind, rows: pa.RecordBatch) -> None: ...


class AcceptedRows:
    """Rows acknowledged, by workspace and kind: what the files are held against.

    `lock` is held while rows pass from here to the writer, and by whoever reads both accounts.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rows: Counter[tuple[int, Kind]] = Counter()

    def workspaces(self) -> set[int]:
        with self.lock:
            return {workspace_id for workspace_id, _ in self.rows}
