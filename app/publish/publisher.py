"""Stages and publishes the rows of some partitions together, and retries when the disk fails."""

import errno
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from app.disk.durable_fs import DurableFS
from app.parquet.data_file import DataFile
from app.parquet.partition import Partition
from app.publish.buffer import PartitionRows
from app.publish.carried import Carried
from app.publish.destination import Destination, NamesTaken, NotPlaced
from app.publish.intent import Intent, IntentLog
from app.publish.manifest import Manifest, Publication
from app.publish.observer import WriterObserver
from app.publish.paths import SinkPaths
from app.publish.removed_files import RemovedPartition, RemovedRows
from app.publish.renaming import free_names, rename_files, rename_placements
from app.publish.rotation import WriterPolicy
from app.publish.set_aside import SetAside
from app.publish.stage import StagedFlush, Stager
from app.publish.staging_directory import Placement, Staging

log = logging.getLogger(__name__)

CONCERNS_ALL: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
"""Errors that would affect every partition, not only one."""


class PublishedRows(msgspec.Struct, frozen=True):
    """One partition's rows, and the files that hold them now."""

    taken: PartitionRows
    flush: StagedFlush


class _Pending(msgspec.Struct, frozen=True):
    """A publish whose files are staged but that is not finished yet."""

    intent: Intent
    flushes: list[PublishedRows]
    started_s: float


class Publisher:
    """Publishes the rows it is given, or reports that they must be given again. Used only by the writer
    thread.

    problem: why nothing at all can be published now, None if that is not the case. set_aside: partitions that
    fail by themselves. clock: ms since the epoch. timer: ms on a clock that is never set.
    """

    def __init__(
        self,
        fs: DurableFS,
        paths: SinkPaths,
        manifest: Manifest,
        destination: Destination,
        policy: WriterPolicy,
        clock: Callable[[], int],
        timer: Callable[[], int],
        observer: WriterObserver,
    ) -> None:
        self._timer = timer
        self.set_aside = SetAside(policy, timer)
        self._returned: list[PartitionRows] = []
        self._manifest = manifest
        self._policy = policy
        self._clock = clock
        self._observer = observer
        self._staging = Staging(fs, paths)
        self._destination = destination
        self._stager = Stager(fs, self._staging, destination, manifest, policy, clock)
        self._intents = IntentLog(fs, paths, self._staging, destination, manifest)
        self._pending: _Pending | None = None
        self._pause_ms = 0
        self._failed_at_ms = 0
        self._failing_since_ms: int | None = None
        self._said: str | None = None
        self.problem: str | None = None

    @property
    def unfinished(self) -> list[PartitionRows]:
        """Rows of a commit that was begun and must be resumed before another one."""
        return [each.taken for each in self._pending.flushes] if self._pending else []

    @property
    def is_idle(self) -> bool:
        """Whether a new commit may be begun."""
        return self._pending is None

    def may_try(self) -> bool:
        """Whether the pause after a failure is over."""
        return self._timer() >= self._failed_at_ms + self._pause_ms

    def problem_age_s(self) -> float:
        """How long publishing has failed, of one partition or of all; 0 when it works."""
        all_s = 0.0 if self._failing_since_ms is None else (self._timer() - self._failing_since_ms) / 1000
        return max(all_s, self.set_aside.oldest_s())

    def returned(self) -> list[PartitionRows]:
        """Rows of partitions that were left out of a commit that was begun: to be put back."""
        returned, self._returned = self._returned, []
        return returned

    def commit(self, taken: Sequence[PartitionRows]) -> tuple[list[PublishedRows], list[PartitionRows]]:
        """Publish these rows: (what is published, what could not even be staged and is to be put back).

        Rows in neither are staged: see `unfinished` and `resume`. Raises SyncFailed.
        """
        started_s = time.perf_counter()
        number = self._manifest.last_commit + 1
        staged: list[PublishedRows] = []
        left: list[PartitionRows] = []
        for index, rows in enumerate(taken):
            try:
                flush = self._stager.stage(rows, number)
                staged.append(PublishedRows(rows, flush))
            except OSError as error:
                if error.errno in CONCERNS_ALL:
                    self._failed(error)
                    left += taken[index:]
                    break
                self._failed_alone(rows.partition, error)
                left.append(rows)
        if not staged:
            return [], left
        self._staging.sync()
        commit = Publication(
            id=number,
            files=[file for each in staged for file in each.flush.files],
            quarantined=[rows for each in staged for rows in each.flush.quarantined],
        )
        placements = [placement for each in staged for placement in each.flush.placements]
        self._pending = _Pending(Intent(commit, placements), staged, started_s)
        return self._publish(succeeded=self.problem is None or not left), left

    def resume(self) -> list[PublishedRows]:
        """Go on with an unfinished commit; return what it has published. Raises SyncFailed."""
        return self._publish(succeeded=True) if self._pending else []

    def seal(self, files: list[DataFile]) -> None:
        """Record these files, which do not change, as final. Raises SyncFailed."""
        commit = Publication(id=self._manifest.last_commit + 1, files=files)
        self._pending = _Pending(Intent(commit, []), [], time.perf_counter())
        self._publish(succeeded=True)

    def replace(self, file: DataFile, placement: Placement, removed: Sequence[RemovedRows] = ()) -> None:
        """Publish a file in place of its version before, less the removed rows. Raises SyncFailed."""
        commit = Publication(id=self._manifest.last_commit + 1, files=[file], removed_rows=list(removed))
        self._pending = _Pending(Intent(commit, [placement]), [], time.perf_counter())
        self._publish(succeeded=True)

    def remove(self, records: list[RemovedPartition]) -> None:
        """Have the manifest give up files. Raises SyncFailed."""
        commit = Publication(id=self._manifest.last_commit + 1, removed=records)
        self._pending = _Pending(Intent(commit, []), [], time.perf_counter())
        self._publish(succeeded=True)

    def carry(self, record: Carried) -> None:
        """Note that rows count in other frames of the journal. Raises SyncFailed."""
        commit = Publication(id=self._manifest.last_commit + 1, carried=[record])
        self._pending = _Pending(Intent(commit, []), [], time.perf_counter())
        self._publish(succeeded=True)

    def _publish(self, *, succeeded: bool) -> list[PublishedRows]:
        pending = self._pending
        if pending is None:
            return []
        try:
            self._intents.publish(pending.intent)
        except NamesTaken as taken:
            self._rename(pending, taken.paths)
            return []
        except NotPlaced as error:
            self._leave_out(pending, error)
            return []
        except OSError as error:
            self._failed(error)
            return []
        self._pending = None
        if succeeded:
            self._succeeded()
        for each in pending.flushes:
            self.set_aside.done(each.taken.partition)
        self._observe(pending)
        return pending.flushes

    def _rename(self, pending: _Pending, taken: Sequence[str]) -> None:
        """Give the files whose names are taken others; the next turn resumes with them."""
        try:
            names = free_names(self._destination, pending.intent.commit.files, taken)
        except OSError as error:
            self._failed(error)
            return
        for each in pending.flushes:
            each.flush.files = rename_files(each.flush.files, names)
            each.flush.placements = rename_placements(each.flush.placements, names)
        self._pending = msgspec.structs.replace(pending, intent=pending.intent.renamed(names))

    def _leave_out(self, pending: _Pending, failed: NotPlaced) -> None:
        """Take the partitions whose files cannot have their names out of a commit that was begun."""
        if all(error.errno in CONCERNS_ALL for error in failed.errors.values()):
            self._failed(failed)
            return
        commit = pending.intent.commit
        owners = {file.path: file.partition for file in commit.files}
        owners |= {rows.path: rows.partition for rows in commit.quarantined}
        errors = {owners[path]: error for path, error in failed.errors.items()}
        out = [each for each in pending.intent.placements if owners[each.path] in errors]
        left = Intent(
            Publication(
                id=commit.id,
                files=[file for file in commit.files if file.partition not in errors],
                quarantined=[rows for rows in commit.quarantined if rows.partition not in errors],
            ),
            [each for each in pending.intent.placements if owners[each.path] not in errors],
        )
        try:
            self._intents.withdraw(out)
            if not left.commit.files and not left.commit.quarantined:
                self._intents.abandon()
        except OSError as unmoved:
            self._failed(unmoved)
            return
        flushed = {each.taken.partition for each in pending.flushes}
        for partition, error in errors.items():
            if partition in flushed:
                self._failed_alone(partition, error)
            else:  # the version before stays, with the same rows
                log.warning("a file of %s cannot be replaced and stays as it is: %s", partition, error)
        self._returned += [each.taken for each in pending.flushes if each.taken.partition in errors]
        kept = [each for each in pending.flushes if each.taken.partition not in errors]
        self._pending = _Pending(left, kept, pending.started_s) if left.commit.files or kept else None

    def _failed_alone(self, partition: Partition, error: OSError) -> None:
        self.set_aside.failed(partition, error)
        self._observer.partition_failed()
        self._observer.write_error()

    def _failed(self, error: OSError) -> None:
        self._failed_at_ms = self._timer()
        doubled = max(self._pause_ms * 2, self._policy.retry_ms_min)
        self._pause_ms = min(doubled, self._policy.retry_ms_max)
        said = str(error)
        if self._said != said:
            log.error("nothing can be published now; trying again: %s", said)
            self._said = said
        if self._failing_since_ms is None:
            self._failing_since_ms = self._failed_at_ms
        self.problem = f"publishing failed and is retried every {self._pause_ms} ms: {said}"
        self._observer.write_error()

    def _succeeded(self) -> None:
        if self._failing_since_ms is not None:
            seconds = (self._timer() - self._failing_since_ms) / 1000
            log.warning("publishing works again after %.1f s", seconds)
        self._pause_ms = 0
        self._failing_since_ms = self._said = self.problem = None

    def _observe(self, pending: _Pending) -> None:
        for each in pending.flushes:
            kind = each.flush.partition.kind
            if each.flush.rows:
                self._observer.rows_written(kind, each.flush.rows)
            for rows in each.flush.quarantined:
                self._observer.rows_quarantined(kind, rows.rows)
            for column, values in each.flush.unfit.items():
                self._observer.values_unfit(kind, column, values)
            for placement in each.flush.placements:
                if placement.root == "data":
                    self._observer.bytes_written(placement.bytes - placement.kept_bytes)
                    if not placement.kept_bytes:
                        self._observer.file_created()
        if pending.flushes:
            self._observer.flush_seconds(time.perf_counter() - pending.started_s)
