"""A published file, and the draft of its next version."""

from enum import StrEnum
from typing import TypeAlias

import msgspec

from app.kinds import Kind
from app.parquet.partition import Partition

LsnRange: TypeAlias = tuple[int, int]
"""Journal frames from the first to the last."""


class FileState(StrEnum):
    """removed: it is not there any more. changed: it is there and not what was published; never touched."""

    PUBLISHED = "published"
    REMOVED = "removed"
    CHANGED = "changed"


class FinalForm(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a file's compaction, and of its old bytes.

    laid_ms: when, ms since the epoch. dead: ranges of its bytes, in their order, from the first one up to and
    not including the second, that its footer does not name any more. given_back: whether the file system
    has them back. erases: they must become zeros, also where the file system cannot take them back.
    """

    laid_ms: int
    dead: tuple[tuple[int, int], ...]
    given_back: bool = False
    erases: bool = False

    @property
    def dead_bytes(self) -> int:
        return sum(stop - start for start, stop in self.dead)


class DataFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One published file, as the manifest and /files know it.

    path: below `{path}`, posix. date, hour: of its partition. bytes: its length.
    min_timestamp, max_timestamp: ms since the epoch.
    created_at: when its first version was published, RFC 3339 UTC. updated_at: when this one was; empty in
        manifests of earlier versions.
    sealed: no more rows are added; it may be compacted, once.
    first_lsn, last_lsn: journal frames from the first to the last of which it has rows.
    recovered: ranges of frames of which it has the rows, too, that another file of its partition has lost.
    number: its place among the files of its partition, from 0.
    commit: which one published it, for tables to list it; None for a file that they cannot list.
    state: whether it stands as it was published.
    lost_rows: rows of it that no file has any more and the journal had not at the last start; they came with
        frames after `last_lsn` up to `lost_through`.
    row_groups: their number; 0 in manifests of earlier versions.
    final: set once it was compacted, which happens once.
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
    state: FileState = FileState.PUBLISHED
    lost_rows: int = 0
    lost_through: int = 0
    updated_at: str = ""
    row_groups: int = 0
    recovered: tuple[LsnRange, ...] = ()
    final: FinalForm | None = None

    @property
    def disk_bytes(self) -> int:
        """What it takes on the disk, but for the blocks at the ends of what was given back."""
        if self.final is None or not self.final.given_back:
            return self.bytes
        return self.bytes - self.final.dead_bytes

    @property
    def changed_at(self) -> str:
        """When this version was published, as far as that is known."""
        return self.updated_at or self.created_at

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
