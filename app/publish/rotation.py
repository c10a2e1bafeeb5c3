"""Decides when partitions are flushed. Pure: numbers in, decisions out."""

from collections.abc import Iterable
from enum import Enum
from typing import Final

import msgspec

from app.parquet.file_policy import FilePolicy
from app.parquet.partition import Rotation
from app.parquet.placing import Placings
from app.publish.final_policy import FinalPolicy
from app.publish.retention_rules import RetentionPolicy

AGE_SHARE: Final = 16
"""A partition may lag behind by this fraction of its age, which bounds how often a byte is copied."""


class WriterPolicy(FilePolicy, frozen=True, kw_only=True):
    """Limits of buffering and publishing, beside those of one file.

    A partition that has buffered `row_group_rows` rows is flushed.

    flush_interval_ms: how far a young partition's file may lag behind.
    max_buffered_bytes: memory for rows that wait; what goes beyond it waits in the journal alone. From half
        of it on the largest partitions are flushed before their time.
    early_flush_bytes: a partition with fewer is not flushed for the sake of memory: its rows are left to the
        journal, and read again when it is due.
    max_journal_bytes: what the journal may hold; from half of it on the oldest rows are flushed.
    settle_ms: how long after its time has passed a partition is flushed: batches under way still arrive.
    seal_after_ms: how long after its time a partition's files are declared final; later rows go to a new
        number.
    max_partitions_per_publication: partitions published by one intent and one manifest record.
    tick_ms: the longest time between two looks at the clock.
    pressure_interval_ms: the shortest time between two flushes for the journal's sake.
    retry_ms_min, retry_ms_max: the pause after a failed publish, of all or of one partition; doubled each
        time.
    copy_bytes_per_s: requests that wait for a file hasten its flush, and each flush copies the file where the
        file system cannot share blocks. They are published together, at most this much a second.
    open_partitions_max: files that may still grow; beyond it those whose time passed first are declared
        final, and later rows of theirs go to a new number.
    placings: how rows are placed, and so how long after its time a partition still gets some.
    retention: how long files are kept.
    final: how files of a partition that is over are compacted; None if they are not.
    grace_ms: how long old bytes of a compacted file stay readable, for queries that are already running.
    """

    rotation: Rotation = Rotation.DAILY
    flush_interval_ms: int = 60_000
    max_buffered_bytes: int = 128_000_000
    early_flush_bytes: int = 1 << 20
    max_journal_bytes: int = 4_000_000_000
    settle_ms: int = 1_000
    seal_after_ms: int = 60_000
    max_partitions_per_publication: int = 256
    tick_ms: int = 200
    pressure_interval_ms: int = 1_000
    retry_ms_min: int = 100
    retry_ms_max: int = 10_000
    copy_bytes_per_s: int = 32 << 20
    open_partitions_max: int = 20_000
    placings: Placings = Placings()
    retention: RetentionPolicy = RetentionPolicy()
    final: FinalPolicy | None = None
    grace_ms: int = 3_600_000


class Due(Enum):
    """Why a partition is flushed."""

    AGE = "age"
    ROWS = "rows"
    BYTES = "bytes"
    TIME_PASSED = "time passed"


class Buffered(msgspec.Struct, frozen=True):
    """What rotation knows about one partition.

    opened_ms: when its first row came. oldest_ms: when the oldest row that is still buffered came; both on a
    clock that is never set. end_ms: when its time has passed, ms since the epoch. bytes: memory that its
    buffered rows hold, or would hold.
    first_lsn: the oldest frame that still has rows here.
    """

    opened_ms: int
    oldest_ms: int
    end_ms: int
    rows: int
    bytes: int
    first_lsn: int


def due(buffered: Buffered, policy: WriterPolicy, now_ms: int, wall_ms: int) -> Due | None:
    """Whether a partition is to be flushed now, and why.

    now_ms: on the clock of `buffered`, which is never set. wall_ms: since the epoch; it names partitions.
    """
    if buffered.rows == 0:
        return None
    if buffered.rows >= policy.row_group_rows:
        return Due.ROWS
    if buffered.bytes >= policy.max_file_bytes:
        return Due.BYTES
    waited_ms = now_ms - buffered.oldest_ms
    if (
        wall_ms >= buffered.end_ms + policy.placings.late_ms + policy.settle_ms
        and waited_ms >= policy.settle_ms
    ):
        return Due.TIME_PASSED
    if waited_ms >= lag_ms(buffered.opened_ms, policy, now_ms):
        return Due.AGE
    return None


def lag_ms(opened_ms: int, policy: WriterPolicy, now_ms: int) -> int:
    """How far the file of a partition that was opened then may lag behind at this time."""
    return max(policy.flush_interval_ms, (now_ms - opened_ms) // AGE_SHARE)


def is_final(end_ms: int, policy: WriterPolicy, now_ms: int) -> bool:
    """Whether the files of a partition without buffered rows will get no rows any more."""
    return now_ms >= end_ms + policy.placings.late_ms + policy.seal_after_ms


def relieve_memory(sizes: Iterable[tuple[int, int]], total_bytes: int, policy: WriterPolicy) -> list[int]:
    """Which partitions to flush because too much is buffered: those with most bytes, down to a quarter.

    sizes: (bytes, index) of each partition. Returns indexes.
    """
    worth = (each for each in sizes if each[0] >= policy.early_flush_bytes)
    return largest(worth, total_bytes, policy)


def largest(sizes: Iterable[tuple[int, int]], total_bytes: int, policy: WriterPolicy) -> list[int]:
    """Which partitions hold most of the memory that is to become free; none while half of it is.

    sizes: (bytes, index) of each partition. Returns indexes.
    """
    if total_bytes <= policy.max_buffered_bytes // 2:
        return []
    chosen = []
    for size, index in sorted(sizes, reverse=True):
        if total_bytes <= policy.max_buffered_bytes // 4:
            break
        chosen.append(index)
        total_bytes -= size
    return chosen


def relieve_journal(
    oldest: Iterable[tuple[int, int]], last_lsn: int, journal_bytes: int, policy: WriterPolicy
) -> list[int]:
    """Which partitions to flush because the journal is long: those that hold the older half of its frames.

    oldest: (first unpublished LSN, index) of each partition. Returns indexes.
    """
    if journal_bytes <= policy.max_journal_bytes // 2:
        return []
    pairs = list(oldest)
    if not pairs:
        return []
    middle = (min(lsn for lsn, _ in pairs) + last_lsn) // 2
    return [index for lsn, index in pairs if lsn <= middle]
