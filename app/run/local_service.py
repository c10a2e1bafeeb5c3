"""The running service: its parts, their order at start and stop, and the interface to the whole.

open:   unfinished publishing → journal → batch ids → writer → replay → commit thread → batches are taken
close:  commit thread (what was submitted is durable) → writer (what is buffered is published) → journal
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from app.api.answers import Status
from app.catalog.registrar import Catalog, NoCatalog
from app.commit.admission import Admission, Levels
from app.commit.batch_ids import DeduplicationWindow
from app.commit.journal_store import JournalStore
from app.commit.recent_refusals import RecentRefusals
from app.commit.store import AcceptedRows
from app.commit.tap import Watch, unwatched
from app.disk.data_directory_lock import lock_data_directory
from app.disk.durable_fs import DurableFS
from app.disk.file_lock import FileLock
from app.disk.reserve import DiskReserve
from app.errors import Overloaded
from app.journal.failures import JournalDamaged, JournalFailed
from app.journal.journal import Journal
from app.metrics import Metrics
from app.object_store.store import ObjectStore
from app.parquet.data_file import DataFile
from app.parquet.wanted import Wanted
from app.publish.bucket import Bucket, BucketTree
from app.publish.intake import FlushResult
from app.publish.interrupted import RecoveryReport, recover
from app.publish.local_directory import local_destination
from app.publish.manifest import Manifest
from app.publish.ownership import (
    JournalIdentity,
    LocalTree,
    Tree,
    TreeRefused,
    new_identity,
    read_identity,
    take_tree,
)
from app.publish.paths import SinkPaths
from app.publish.writer import Writer
from app.run.accounts import Accounts
from app.run.carrying import appending_to, recall_carried
from app.run.claim import claim_meanwhile
from app.run.disks import Disks
from app.run.forget import forget
from app.run.gate import STARTING, Gate
from app.run.missing_files import MissingFiles
from app.run.observers import CommitObserver, PublishObserver
from app.run.parts import Parts, status_of
from app.run.pipelines import NewPipeline, pipeline_of_batches
from app.run.replay import read_back, replay
from app.run.start_patience import StartPatience
from app.run.start_policy import policy_from
from app.run.start_report import CannotStart, cannot_start, say
from app.run.summary import Summary
from app.run.window_file import load_window
from app.settings.plan import Policies
from app.submission import Reply, Submission

log = logging.getLogger(__name__)

AWAITING_STORE = "starting: an interrupted upload must be finished, but the object store does not respond"

REFUSED_STARTS = (JournalDamaged, TreeRefused, CannotStart)
"""Errors whose messages tell an operator what to do, so that a traceback adds nothing."""


class Service:
    """A service from start to stop. gate: whether batches are accepted."""

    def __init__(
        self,
        fs: DurableFS,
        paths: SinkPaths,
        policies: Policies,
        metrics: Metrics,
        clock_ms: Callable[[], int],
        timer_ms: Callable[[], int],
        on_fatal: Callable[[], None],
        new_writer: Callable[..., Writer] = Writer,
        store: ObjectStore | None = None,
        catalog: Catalog | None = None,
        new_pipeline: NewPipeline = pipeline_of_batches,
        watch: Watch = unwatched,
    ) -> None:
        self._watch = watch
        self.refusals = RecentRefusals()
        self._new_writer = new_writer
        self._new_pipeline = new_pipeline
        self._catalog = catalog or NoCatalog()
        grows = not policies.writer.layout.for_tables
        self._destination = Bucket(fs, store) if store else local_destination(fs, paths, grows)
        self._patience = StartPatience()
        self.store = store
        self.missing = MissingFiles(
            fs,
            paths.data,
            lambda: self._parts.manifest.files() if self._parts else (),
            lambda path: self._parts.manifest.find(path) if self._parts else None,
        )
        self._fs = fs
        self._paths = paths
        self._policies = policies
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._timer_ms = timer_ms
        self._identity: JournalIdentity | None = None
        self._tree_lock: FileLock | None = None
        self._parts: Parts | None = None
        self._summary = Summary()
        self._lock: FileLock | None = None
        self._closed = False
        reserve = DiskReserve(fs, paths.state / "reserve", policies.reserve_bytes)
        self._disks = Disks(fs, paths, reserve, policies.admission)
        self._window_path = paths.state / "deduplication"
        self.accounts = Accounts(fs, paths.state, policies.quotas, clock_ms, timer_ms, metrics.count_usage)
        self.admission = Admission(
            policies.admission,
            self.levels,
            lambda code: metrics.backpressure_refusals.labels(code).inc(),
            closed=STARTING,
            journal_of=self.journal_bytes_of,
            quotas=self.accounts.quotas,
        )
        self.gate = Gate(self.admission, REFUSED_STARTS, on_fatal)

    # --- life -------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """Makes this the only process that writes here while it lives.

        Raises DataDirectoryInUse; TreeRefused; OSError.
        """
        self._lock = lock_data_directory(self._fs, self._paths.state)
        if self._paths.data is not None:
            self._take_tree(LocalTree(self._fs, self._paths.data))

    def _take_tree(self, tree: Tree) -> None:
        node = self._policies.writer.node
        self._identity, self._tree_lock = take_tree(self._fs, self._paths, tree, node)

    def _take_bucket(self, store: ObjectStore) -> None:
        """A store that does not respond must not delay the start: its owner is then checked in the
        background.

        Objects are never replaced, so nothing can be mixed up until then. Raises TreeRefused.
        """
        tree = BucketTree(store)
        identity = read_identity(self._fs, self._paths) or new_identity(self._fs, self._paths, tree)
        self._identity = identity
        claim_meanwhile(lambda: self._take_tree(tree), self._patience, self.fail)

    def open(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Recovers and starts. Blocks as long as the journal is long; call it in a thread.

        Raises whatever the parts raise if the disk's contents are wrong; StartStopped.
        """
        began = time.monotonic()
        self.check_space()
        if self.store is not None:
            self._take_bucket(self.store)
        journal_is_new = not self._fs.exists(self._paths.segments)
        try:
            manifest, report = self._patience.until_store_answers(
                lambda: self._recover(accepts_unnamed=not journal_is_new),
                partial(self.gate.close, AWAITING_STORE),
            )
        except OSError as error:
            raise CannotStart(cannot_start(error)) from error
        say(report)
        adopted_lsn = self._identity.adopted_lsn if self._identity is not None else 0
        journal = Journal.open(
            self._fs,
            self._paths.segments,
            self._policies.journal,
            max(manifest.last_lsn, adopted_lsn if journal_is_new else 0),
            begins_above=journal_is_new and adopted_lsn > 0,
        )
        if journal.recovery.lost_lsns is not None:
            log.warning(
                'the journal has lost LSN %d to %d, which acknowledge = "%s" does not prevent; their rows '
                "that are not in files are lost",
                *journal.recovery.lost_lsns,
                self._policies.journal.acknowledge,
            )
        recall_carried(journal, manifest)
        window = load_window(self._fs, self._window_path, self._policies.deduplication)
        name = self._identity.journal if self._identity is not None else ""
        writing = policy_from(self._policies.writer, self._fs, self._paths, name, journal.last_lsn + 1)
        writer = self._new_writer(
            writing,
            self._fs,
            self._paths,
            manifest,
            clock=self._clock_ms,
            timer=self._timer_ms,
            observer=PublishObserver(self._metrics),
            destination=self._destination,
            on_trim=lambda lsn: self._trim(journal, window, lsn),
            on_fatal=self.fail,
            journal_bytes=lambda: journal.size_bytes,
            first_lsn=lambda: journal.first_lsn,
            read_back=partial(read_back, journal, manifest),
        )
        writer.start()
        memory_bytes = self._policies.writer.max_buffered_bytes // 2
        counted = self.accounts.replay(manifest, writing)
        replayed = replay(journal, manifest, window, writer, memory_bytes, self._patience, counted)
        counted.end(journal.last_lsn)
        # Until the writer has looked at them, rows that are in files already count as buffered, too.
        writer.flush(partitions=()).result()
        writer.carrier.begin(appending_to(journal))
        accepted = AcceptedRows()
        for key, line in writer.account().items():
            accepted.rows[key] = line.accepted
        delay_s, usage = self._policies.max_delay_s, self.accounts.usage
        pipeline = self._new_pipeline(
            JournalStore(journal, writer, window, accepted, delay_s, usage, self._watch),
            self._policies.group,
            self._policies.decode,
            CommitObserver(self._metrics, on_refused=self.refusals.note),
            self.fail,
        )
        pipeline.start(loop)
        self._catalog.start(manifest)
        self._parts = Parts(journal, manifest, writer, pipeline, window, accepted)
        self._metrics.recovery_rows.set(replayed)
        self._metrics.recovery_cut_bytes.set(journal.recovery.torn_bytes)
        self._metrics.recovery_seconds.set(seconds := time.monotonic() - began)
        said = "ready: %d rows read from the journal, %d of them not in files yet, in %.1f s"
        log.info(said, replayed, writer.buffered_rows, seconds)
        self.gate.open()

    def _recover(self, *, accepts_unnamed: bool) -> tuple[Manifest, RecoveryReport]:
        return recover(
            self._fs,
            self._paths,
            self._destination,
            journals=self._identity.journals if self._identity is not None else frozenset(),
            node=self._policies.writer.node,
            accepts_unnamed=accepts_unnamed,
        )

    def stop_opening(self) -> None:
        """Ends an `open` that waits for an object store or a full disk."""
        self._patience.stop()

    def close(self) -> None:
        """Drains: commits submitted batches, publishes buffered rows. Blocks; call it in a thread."""
        self.gate.drain()
        parts = self._parts
        if parts is None:
            return
        parts.pipeline.close()
        if not parts.writer.close(self._policies.drain_timeout_s):
            log.warning(
                "%d rows were not written within server.drain_timeout: they are in the journal, and the next "
                "start publishes them",
                parts.writer.buffered_rows,
            )
        self._catalog.close()
        self._closed = True
        parts.journal.close()

    @property
    def fatal(self) -> BaseException | None:
        return self.gate.fatal

    def fail(self, error: BaseException) -> None:
        self.gate.fail(error)

    # --- what is asked of it ------------------------------------------------------------------------------

    def submit(self, submission: Submission, reply: Reply) -> None:
        self._open_parts().pipeline.submit(submission, reply)

    def flush(self, workspace_id: int | None = None) -> "Future[FlushResult]":
        return self._open_parts().writer.flush(workspace_id)

    def forget(self, wanted: Wanted, now: bool, asked: Mapping[str, Any]) -> dict[str, Any]:
        return forget(self._open_parts(), self._fs, self._paths.state, wanted, now, asked)

    def files(self) -> Sequence[DataFile]:
        self._open_parts()
        return self.missing.shown()

    def find(self, path: str) -> DataFile | None:
        return self._open_parts().manifest.find(path)

    async def publish(self, workspace_id: int) -> bool:
        """Publishes the accepted rows of this workspace; returns whether that succeeded in time."""
        flushed = asyncio.wrap_future(self._open_parts().writer.flush(workspace_id, hastens=True))
        done, _ = await asyncio.wait({flushed}, timeout=self._policies.publish_timeout_s)
        return bool(done) and flushed.exception() is None

    def status(self) -> Status:
        """The account and the levels for GET /status."""
        return status_of(self._open_parts(), self._catalog.status(), self.accounts.today())

    def oldest_age_s(self) -> float:
        """The age of the oldest row that is not in a published file; 0 if all are."""
        return self._parts.writer.oldest_age_s if self._parts else 0.0

    def problem_age_s(self) -> float:
        """How long publishing has failed, of one partition or of all; 0 when it works."""
        return self._parts.writer.problem_age_s if self._parts else 0.0

    def problem(self) -> str | None:
        """Why publishing is failing now; None if it works."""
        return self._parts.writer.problem if self._parts else None

    def lost_rows(self) -> int:
        """Rows that were published but are no longer in any file."""
        return sum(file.lost_rows for file in self._parts.manifest.lost()) if self._parts else 0

    def levels(self) -> Levels:
        """The current levels for admission."""
        journal_bytes = self._parts.journal.size_bytes if self._parts else 0
        return Levels(journal_bytes, self._disks.space.free_bytes, self._disks.space.free_inodes)

    def journal_bytes_of(self, workspace_id: int) -> int:
        """Approximate bytes in the journal of one workspace's waiting rows."""
        parts = self._parts
        return parts.writer.waiting_of(workspace_id, parts.journal.size_bytes) if parts else 0

    def crowded(self, limit_bytes: int) -> list[int]:
        """The workspaces whose rows take more of the journal than that."""
        if self._parts is None or self._parts.journal.size_bytes <= limit_bytes:
            return []
        known = self._parts.accepted.workspaces()
        return [each for each in known if self.journal_bytes_of(each) > limit_bytes]

    def buffered_bytes(self) -> int:
        return self._parts.writer.buffered_bytes if self._parts else 0

    def buffered_rows(self) -> int:
        return self._parts.writer.buffered_rows if self._parts else 0

    def open_partitions(self) -> int:
        return self._parts.writer.open_partitions if self._parts else 0

    def log_summary(self) -> None:
        """A summary line; none if nothing has changed since the last one."""
        if self._parts is None:
            return
        self._summary.say(
            "accepted %d rows; buffered %d rows, %.1f MB; journal %.1f MB; oldest row %.0f s; files %d",
            sum(self._parts.accepted.rows.values()),
            self.buffered_rows(),
            self.buffered_bytes() / 1e6,
            self.levels().journal_bytes / 1e6,
            self.oldest_age_s(),
            len(self._parts.manifest.files()),
        )

    def reasons_not_ready(self) -> list[str]:
        return self.gate.reasons_not_ready()

    def check_space(self) -> None:
        """Checks the disks; blocks. Admission uses the result until the next check."""
        self._disks.look(publishing_fails=self._parts is not None and bool(self._parts.writer.problem))
        self.missing.look()

    # --- inside -------------------------------------------------------------------------------------------

    def _open_parts(self) -> Parts:
        if self._parts is None:
            raise Overloaded("The service is starting; try again.", retry_after_s=2)
        return self._parts

    def _trim(self, journal: Journal, window: DeduplicationWindow, lsn: int) -> None:
        """Saves batch ids and usage before the frames that contain them are trimmed. Called by the writer."""
        if journal.frees(lsn):
            self.accounts.save()
            self._fs.write_atomically(self._window_path, window.dump())
        try:
            journal.trim(lsn)
        except JournalFailed:
            # A writer that outlives the time to drain meets a closed journal; the process is about to end.
            if not self._closed:
                raise
