"""A published file, and the draft of its next version."""

import msgspec

from app.kinds import Kind
from app.parquet.partition import Partition


class DataFile(msgspec.Struct, frozen=True, kw_only=True):
    """One published file, as the manifest and /files know it.

    path: below `{path}`, posix. bytes: its length. min_timestamp, max_timestamp: ms since the epoch.
    created_at: when its first version was published, RFC 3339 UTC.
    sealed: it will never change again.
    first_lsn, last_lsn: journal frames from the first to the last of which it has rows.
    number: its place among the files of its partition, from 0.
    commit: which one published it, for tables to list it; None for a file that they cannot list.
    """

    path: str
    workspace_id: int
    date: str
    hour: int | None
    kind: Kind
    number: int
    rows: int
    bytes: int
    min_timestamp: int
    max_timestamp: int
    compression: str
    created_at: str
    sealed: bool
    first_lsn: int
    last_lsn: int
    commit: int | None = None

    @property
    def partition(self) -> Partition:
        return Partition(self.workspace_id, self.date, self.hour, self.kind)


class QuarantinedRows(msgspec.Struct, frozen=True, kw_only=True):
    """Acknowledged rows that could not be encoded: path below `quarantine/`, and why."""

    path: str
    workspace_id: int
    date: str
    hour: int | None
    kind: Kind
    rows: int
    error: str
    last_lsn: int

    @property
    def partition(self) -> Partition:
        return Partition(self.workspace_id, self.date, self.hour, self.kind)
