"""Removes files that are too old: from the manifest first, then the file itself.

Killed in between, a start finds the file in the manifest's record of what is still to be deleted, and this
goes on with it. A file that the manifest does not know, or that is not what was published, is never touched.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, Protocol

import msgspec

from app.parquet.data_file import DataFile, FileState
from app.parquet.partition import Partition
from app.publish.destination import Destination
from app.publish.manifest import Manifest
from app.publish.observer import WriterObserver
from app.publish.removed_files import RemovedPartition, nothing_of
from app.publish.retention_rules import RetentionPolicy, expired

log = logging.getLogger(__name__)

SETTLED_PER_TURN: Final = 5_000
"""Records of removed partitions that are dropped together."""


class PublishesRemovals(Protocol):
    """What makes records durable. Raises SyncFailed."""

    @property
    def is_idle(self) -> bool: ...

    def remove(self, records: list[RemovedPartition]) -> None: ...


class Retention:
    """For the writer thread alone, while nothing else is being published.

    first_lsn: the oldest frame that the journal still has. clock: ms since the epoch. timer: ms on a clock
    that is never set. on_removed(partition, rows): they are in no file from now on.
    """

    def __init__(
        self,
        policy: RetentionPolicy,
        manifest: Manifest,
        destination: Destination,
        publisher: PublishesRemovals,
        clock: Callable[[], int],
        timer: Callable[[], int],
        observer: WriterObserver,
        first_lsn: Callable[[], int],
        on_removed: Callable[[Partition, int], None],
    ) -> None:
        self._policy = policy
        self._manifest = manifest
        self._destination = destination
        self._publisher = publisher
        self._clock = clock
        self._timer = timer
        self._observer = observer
        self._first_lsn = first_lsn
        self._on_removed = on_removed
        self._next_ms = timer()
        self._said: str | None = None

    def turn(self, has_rows: Callable[[Partition], bool]) -> None:
        """One look, where it is time for it. has_rows: whether rows of a partition wait for their file.

        Raises SyncFailed.
        """
        if self._timer() < self._next_ms:
            return
        self._next_ms = self._timer() + self._policy.interval_ms
        due = expired(self._manifest.files(), self._policy, self._clock())
        chosen = list(self._some((p, files) for p, files in due.items() if not has_rows(p)))
        if chosen:
            self._remove(chosen)
            if not self._publisher.is_idle:
                return
        if not self._delete():
            return
        if len(chosen) < len(due):
            self._next_ms = self._timer()

    def _some(
        self, due: Iterable[tuple[Partition, list[DataFile]]]
    ) -> Iterator[tuple[Partition, list[DataFile]]]:
        """As many partitions as a turn may remove, and at least one."""
        files = 0
        for partition, those in due:
            if files and files + len(those) > self._policy.files_per_turn:
                return
            files += len(those)
            yield partition, those

    def _remove(self, due: list[tuple[Partition, list[DataFile]]]) -> None:
        records = []
        for partition, files in due:
            before = self._manifest.removed_of(partition) or nothing_of(partition)
            there = [file for file in files if file.state is FileState.PUBLISHED]
            records.append(before.with_files(files, there))
        self._publisher.remove(records)
        rows = 0
        for partition, files in due:
            removed = sum(file.rows + file.lost_rows for file in files)
            self._on_removed(partition, removed)
            rows += removed
        count = sum(len(files) for _, files in due)
        self._observer.files_removed(count, rows)
        log.info("retention: removed %d files with %d rows, the first is %s", count, rows, due[0][1][0].path)

    def _delete(self) -> bool:
        """Delete what the manifest has no more, then note that; whether all of it is deleted."""
        waiting = [record for record in self._manifest.removed() if record.leaving]
        try:
            for record in waiting:
                for path in self._destination.delete(record.leaving):
                    log.warning(
                        "%s is old enough to be removed, but has been changed since it was published: it is "
                        "left as it is",
                        path,
                    )
        except OSError as error:
            if self._said != str(error):
                self._said = str(error)
                log.warning("old files cannot be deleted; trying again: %s", error)
            return False
        self._said = None
        first_lsn = self._first_lsn()
        deleted = {record.partition: msgspec.structs.replace(record, leaving=[]) for record in waiting}
        for record in islice(self._manifest.removed(), SETTLED_PER_TURN):
            if record.last_lsn < first_lsn:
                deleted[record.partition] = msgspec.structs.replace(record, leaving=[], settled=True)
        if deleted:
            self._publisher.remove(list(deleted.values()))
        return True
