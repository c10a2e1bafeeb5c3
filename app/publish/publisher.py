"""Commits: the rows of some partitions, staged and published together, tried again when the disk fails."""

import time
from collections.abc import Callable, Sequence

import msgspec

from app.disk.durable_fs import DurableFS
from app.parquet.data_file import DataFile
from app.publish.buffer import PartitionRows
from app.publish.destination import Destination, NamesTaken
from app.publish.intent import Intent, IntentLog
from app.publish.manifest import Commit, Manifest
from app.publish.observer import Observer
from app.publish.paths import SinkPaths
from app.publish.renaming import free_names, rename_files, rename_placements
from app.publish.rotation import WriterPolicy
from app.publish.stage import Span, StagedFlush, Stager
from app.publish.staging_directory import Staging


class Published(msgspec.Struct, frozen=True):
    """One partition's rows, and the files that hold them now."""

    taken: PartitionRows
    flush: StagedFlush


class _Pending(msgspec.Struct, frozen=True):
    """A commit whose files are staged and that is not through yet."""

    intent: Intent
    flushes: list[Published]
    started_s: float


class Publisher:
    """Publishes what it is given, or says that it must be given again. Used by the writer thread alone.

    problem: why the last try failed, None when it did not.
    """

    def __init__(
        self,
        fs: DurableFS,
        paths: SinkPaths,
        manifest: Manifest,
        destination: Destination,
        policy: WriterPolicy,
        clock: Callable[[], int],
        observer: Observer,
    ) -> None:
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
        since_ms = self._clock() - self._failed_at_ms
        return not self._pause_ms or not 0 <= since_ms < self._pause_ms

    def commit(self, taken: Sequence[PartitionRows]) -> tuple[list[Published], list[PartitionRows]]:
        """Publish these rows: (what is published, what could not even be staged and is to be put back).

        Rows in neither are staged: see `unfinished` and `resume`. Raises SyncFailed.
        """
        started_s = time.perf_counter()
        number = self._manifest.last_commit + 1
        staged: list[Published] = []
        left: list[PartitionRows] = []
        for index, rows in enumerate(taken):
            span = Span(number, rows.first_lsn, rows.last_lsn)
            try:
                staged.append(Published(rows, self._stager.stage(rows.partition, rows.table(), span)))
            except OSError as error:
                self._failed(error)
                left = list(taken[index:])
                break
        if not staged:
            return [], left
        self._staging.sync()
        commit = Commit(
            id=number,
            files=[file for each in staged for file in each.flush.files],
            quarantined=[rows for each in staged for rows in each.flush.quarantined],
        )
        placements = [placement for each in staged for placement in each.flush.placements]
        self._pending = _Pending(Intent(commit, placements), staged, started_s)
        return self._publish(succeeded=not left), left

    def resume(self) -> list[Published]:
        """Go on with an unfinished commit; return what it has published. Raises SyncFailed."""
        return self._publish(succeeded=True) if self._pending else []

    def seal(self, files: list[DataFile]) -> None:
        """Record these files, which do not change, as final. Raises SyncFailed."""
        commit = Commit(id=self._manifest.last_commit + 1, files=files)
        self._pending = _Pending(Intent(commit, []), [], time.perf_counter())
        self._publish(succeeded=True)

    def _publish(self, *, succeeded: bool) -> list[Published]:
        pending = self._pending
        if pending is None:
            return []
        try:
            self._intents.publish(pending.intent)
        except NamesTaken as taken:
            self._rename(pending, taken.paths)
            return []
        except OSError as error:
            self._failed(error)
            return []
        self._pending = None
        if succeeded:
            self._pause_ms = 0
            self.problem = None
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

    def _failed(self, error: OSError) -> None:
        self._failed_at_ms = self._clock()
        doubled = max(self._pause_ms * 2, self._policy.retry_ms_min)
        self._pause_ms = min(doubled, self._policy.retry_ms_max)
        self.problem = f"publishing failed and is tried again every {self._pause_ms} ms: {error}"
        self._observer.write_error()

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
