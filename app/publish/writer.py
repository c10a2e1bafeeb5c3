"""The writer thread: decides when rows are published, and publishes them."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from datetime import datetime
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.division import split
from app.parquet.partition import Partition, Rotation
from app.publish.buffer import Buffers, PartitionRows
from app.publish.destination import Destination
from app.publish.intake import FlushCommand, FlushResult, Intake, PutRows, RowAccount, WriterStopped
from app.publish.local_directory import local_destination
from app.publish.manifest import Manifest
from app.publish.observer import Observer, SilentObserver
from app.publish.paths import SinkPaths
from app.publish.publisher import Published, Publisher
from app.publish.rotation import WriterPolicy, due, is_final, relieve_journal, relieve_memory
from app.publish.set_aside import Trouble, describe

SEAL_INTERVAL_MS: Final = 1_000

HASTENED_PARTITIONS_MAX: Final = 10_000
"""Of which it is remembered when their file was copied last."""


class Writer:
    """Buffers rows by partition and publishes them. One thread, begun by `start`.

    clock: ms since the epoch. timer: ms on a clock that is never set; waiting is measured by it.
    on_trim(lsn): no frame up to this one is needed any more. on_fatal(exception): the process must end: it is
    not known what is on the disk, or the writer has a bug. destination: where files go; without one, the
    local directory of `paths`. journal_bytes: the present size of the journal.
    """

    def __init__(
        self,
        policy: WriterPolicy,
        fs: DurableFS,
        paths: SinkPaths,
        manifest: Manifest,
        *,
        clock: Callable[[], int],
        timer: Callable[[], int],
        on_trim: Callable[[int], None],
        on_fatal: Callable[[BaseException], None],
        observer: Observer | None = None,
        destination: Destination | None = None,
        journal_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._policy = policy
        self._manifest = manifest
        self._clock = clock
        self._timer = timer
        self._on_trim = on_trim
        self._on_fatal = on_fatal
        self._journal_bytes = journal_bytes
        self._publisher = Publisher(
            fs,
            paths,
            manifest,
            destination or local_destination(fs, paths),
            policy,
            clock,
            timer,
            observer or SilentObserver(),
        )
        self._intake = Intake(timer, _accounts(manifest))
        self._buffers = Buffers()
        self._commands: list[FlushCommand] = []
        self._last_lsn = 0
        self._replay_through = manifest.last_lsn
        self._trimmed = 0
        self._relieved_ms: int | None = None
        self._hastened_ms: dict[Partition, int] = {}
        self._seal_at_ms = timer() + policy.seal_after_ms  # replay may still bring rows of passed days
        self._oldest_ms: int | None = None
        self._open_partitions = 0
        self._thread: threading.Thread | None = None
        self._drain_until_s: float | None = None
        self.last_flush_ms: int | None = None

    def put(self, lsn: int, kind: Kind, rows: pa.RecordBatch) -> None:
        """Take the rows of one journal frame. Never blocks; LSNs rise from call to call.

        Rows of partitions that are published through this LSN already are dropped (replay).
        """
        self._intake.put(lsn, kind, rows)

    def flush(
        self,
        workspace_id: int | None = None,
        partitions: Collection[Partition] | None = None,
        *,
        hastens: bool = False,
    ) -> Future[FlushResult]:
        """Publish what was put before this call, of one workspace, of some partitions, or all of it.

        The future resolves when it is published. While the disk fails it waits; it fails with NotPublished
        when some partition cannot be published by itself, and with WriterStopped or SyncFailed when the
        writer ends first. hastens: those that wait for one partition are served together, so that a large
        file is not copied for each.
        """
        future: Future[FlushResult] = Future()
        future.set_running_or_notify_cancel()
        chosen = None if partitions is None else frozenset(partitions)
        self._intake.command(FlushCommand(future, workspace_id, chosen, hastens=hastens))
        return future

    @property
    def buffered_rows(self) -> int:
        """Rows put and not yet published or quarantined."""
        return self._intake.rows

    @property
    def buffered_bytes(self) -> int:
        """Memory that those rows hold."""
        return self._intake.bytes

    def buffered_bytes_of(self, workspace_id: int) -> int:
        """The part of it that one workspace has, a tick behind."""
        return self._intake.bytes_of(workspace_id)

    @property
    def oldest_age_s(self) -> float:
        """How long the oldest of those rows has waited, seconds; 0 when there are none."""
        queued = self._intake.oldest_queued()
        times = [self._oldest_ms, None if queued is None else queued.put_ms]
        oldest_ms = min((ms for ms in times if ms is not None), default=None)
        return 0.0 if oldest_ms is None else max(self._timer() - oldest_ms, 0) / 1000

    @property
    def open_partitions(self) -> int:
        """Partitions with buffered rows."""
        return self._open_partitions

    @property
    def problem(self) -> str | None:
        """Why publishing does not work at the moment, of all or of some partition; None when it does."""
        if self._publisher.problem is not None:
            return self._publisher.problem
        return next((describe(trouble) for trouble in self.troubles()), None)

    @property
    def problem_age_s(self) -> float:
        """How long publishing has failed, of one partition or of all; 0 when it works."""
        return self._publisher.problem_age_s()

    def troubles(self) -> list[Trouble]:
        """Partitions that cannot be published, and why."""
        return self._publisher.set_aside.troubles()

    def account(self) -> dict[tuple[int, Kind], RowAccount]:
        """What became of every row, by workspace and kind."""
        ledger, queued = self._intake.account()
        for item in queued:
            for workspace_id, rows in _rows_by_workspace(item.rows):
                ledger.setdefault((workspace_id, item.kind), RowAccount()).buffered += rows
        return ledger

    def start(self) -> None:
        """Begin the thread. Rows that recovery has put are treated like others."""
        self._thread = threading.Thread(target=self._run, name="parquet-writer", daemon=True)
        self._thread.start()

    def close(self, deadline_s: float) -> bool:
        """Publish everything buffered, as far as it goes within so many seconds, and end the thread.

        Returns whether everything was published; what was not is in the journal.
        """
        self._drain_until_s = time.monotonic() + deadline_s
        if self._thread is not None:
            self._intake.wake()
            self._thread.join(deadline_s)
        return self.buffered_rows == 0

    def _run(self) -> None:
        try:
            while not self._drained():
                self._intake.wait(self._policy.tick_ms / 1000)
                self.turn(everything=self._drain_until_s is not None)
            self._end(WriterStopped("the service is stopping; the rows are in the journal"))
        except BaseException as error:
            self._end(error)
            self._on_fatal(error)

    def _drained(self) -> bool:
        if self._drain_until_s is None:
            return False
        return self.buffered_rows == 0 or time.monotonic() >= self._drain_until_s

    def _end(self, reason: BaseException) -> None:
        for command in [*self._commands, *self._intake.close(reason)]:
            if not command.future.done():
                command.future.set_exception(reason)
        self._commands.clear()

    def turn(self, *, everything: bool = False) -> None:
        """One look at what came in and what is due; what `start` repeats. Raises SyncFailed."""
        self._take_in()
        if self._publisher.may_try():
            self._done(self._publisher.resume())
            self._put_back()
        if self._publisher.may_try() and self._publisher.is_idle:
            self._publish(self._choose(everything))
            if self._publisher.is_idle:
                self._seal()
        self._trim()

    def _take_in(self) -> None:
        while (item := self._intake.peek()) is not None:
            if isinstance(item, PutRows):
                self._buffer(item)
            else:
                self._accept(item)
        self._note_age()

    def _buffer(self, item: PutRows) -> None:
        kept: Counter[tuple[int, Kind]] = Counter()
        kept_bytes: Counter[int] = Counter()
        recovered: Counter[tuple[int, Kind]] = Counter()
        for partition, rows in self._unpublished(item):
            buffer = self._buffers.open(partition, item.lsn, item.put_ms, self._opened_ms(partition, item))
            kept_bytes[partition.workspace_id] += buffer.add(item.lsn, rows)
            kept[partition.workspace_id, partition.kind] += rows.num_rows
            if item.lsn <= self._replay_through and self._manifest.was_lost(partition, item.lsn):
                buffer.recovered += rows.num_rows
                recovered[partition.workspace_id, partition.kind] += rows.num_rows
        self._last_lsn = max(self._last_lsn, item.lsn)
        self._intake.taken(kept, kept_bytes, recovered)

    def _unpublished(self, item: PutRows) -> Iterator[tuple[Partition, pa.RecordBatch]]:
        """The item's rows by partition, without those that a replay finds in files.

        They may have been published under another rotation: so replayed rows are looked at hour by hour.
        """
        rotation = self._policy.rotation
        if item.lsn > self._replay_through:
            yield from split(item.rows, item.kind, rotation)
            return
        for hourly, rows in split(item.rows, item.kind, Rotation.HOURLY):
            daily = msgspec.structs.replace(hourly, hour=None)
            if not any(self._manifest.is_published(each, item.lsn) for each in (hourly, daily)):
                yield (daily if rotation is Rotation.DAILY else hourly), rows

    def _opened_ms(self, partition: Partition, item: PutRows) -> int:
        opened_at = self._manifest.opened_at(partition)
        if opened_at is None:
            return item.put_ms
        open_for_ms = self._clock() - int(datetime.fromisoformat(opened_at).timestamp() * 1000)
        return self._timer() - max(open_for_ms, 0)

    def _accept(self, command: FlushCommand) -> None:
        for rows in (*self._publisher.unfinished, *self._buffers):
            if command.concerns(rows.partition):
                command.waiting[rows.partition] = rows.last_lsn
        self._intake.taken()
        command.resolve_if_done()
        if command.waiting:
            self._commands.append(command)

    def _choose(self, everything: bool) -> list[Partition]:
        """The partitions to publish now, those with the oldest rows first."""
        now_ms, wall_ms = self._timer(), self._clock()
        buffers = list(self._buffers)
        chosen: set[Partition] = set()
        for command in self._commands:
            chosen.update(
                each for each in command.waiting if not command.hastens or self._has_turn(each, now_ms)
            )
        for rows in buffers:
            if everything or due(rows.numbers(), self._policy, now_ms, wall_ms) is not None:
                chosen.add(rows.partition)
        chosen.update(buffers[index].partition for index in self._relieve(buffers, now_ms))
        chosen.update(trouble.partition for trouble in self.troubles())
        return [
            rows.partition
            for rows in sorted(buffers, key=_first_lsn)
            if rows.partition in chosen and not self._publisher.set_aside.waits(rows.partition)
        ]

    def _has_turn(self, partition: Partition, now_ms: int) -> bool:
        """Whether requests that wait for this partition's file may have it copied again."""
        return now_ms >= self._hastened_ms.get(partition, now_ms)

    def _relieve(self, buffers: list[PartitionRows], now_ms: int) -> list[int]:
        sizes = [(rows.bytes, index) for index, rows in enumerate(buffers)]
        chosen = relieve_memory(sizes, self._intake.bytes, self._policy)
        relieved_ms = self._relieved_ms
        if relieved_ms is None or now_ms - relieved_ms >= self._policy.pressure_interval_ms:
            oldest = [(rows.first_lsn, index) for index, rows in enumerate(buffers)]
            more = relieve_journal(oldest, self._last_lsn, self._journal_bytes(), self._policy)
            if more:
                self._relieved_ms = now_ms
            chosen += more
        return chosen

    def _publish(self, partitions: list[Partition]) -> None:
        step = self._policy.max_partitions_per_commit
        for start in range(0, len(partitions), step):
            done, left = self._publisher.commit(self._buffers.take(partitions[start : start + step]))
            self._intake.resized(self._buffers.restore(left))
            self._done(done)
            self._put_back()
            if self._publisher.problem is not None or not self._publisher.is_idle:
                break
            self._trim()
        self._give_up()

    def _put_back(self) -> None:
        """Rows of partitions that were left out of a commit."""
        self._intake.resized(self._buffers.restore(self._publisher.returned()))
        self._give_up()

    def _give_up(self) -> None:
        """Whoever waits for a partition that fails by itself is told why."""
        for trouble in self._publisher.set_aside.troubles():
            for command in self._commands:
                if trouble.lasts and trouble.partition in command.waiting:
                    command.give_up(trouble.partition, describe(trouble))
        self._commands = [command for command in self._commands if command.waiting]

    def _done(self, published: Iterable[Published]) -> None:
        for each in published:
            self._intake.published(each.taken, each.flush.rows)
            self._note_copy(each)
            for command in self._commands:
                command.note(each.taken, each.flush)
            self.last_flush_ms = self._clock()
        self._commands = [command for command in self._commands if command.waiting]
        self._note_age()

    def _note_copy(self, published: Published) -> None:
        """When a request that waits may have the file copied again, by what that costs."""
        copied = max((each.bytes for each in published.flush.placements), default=0)
        pause_ms = copied * 1000 // self._policy.copy_bytes_per_s
        if len(self._hastened_ms) >= HASTENED_PARTITIONS_MAX:
            self._hastened_ms.clear()
        self._hastened_ms[published.taken.partition] = self._timer() + pause_ms

    def _seal(self) -> None:
        """Declare final the files whose time has passed and for which no rows wait."""
        if self._timer() < self._seal_at_ms:
            return
        self._seal_at_ms = self._timer() + SEAL_INTERVAL_MS
        now_ms = self._clock()
        files = [
            msgspec.structs.replace(file, sealed=True)
            for file in self._manifest.unsealed()
            if is_final(file.partition.end_ms, self._policy, now_ms)
            and self._buffers.get(file.partition) is None
        ]
        if files:
            self._publisher.seal(files)

    def _trim(self) -> None:
        """Tell the journal which frames nobody needs any more."""
        waiting = [rows.first_lsn for rows in (*self._buffers, *self._publisher.unfinished)]
        through = min(waiting) - 1 if waiting else self._last_lsn
        if through > self._trimmed:
            # A full disk can keep the journal from noting it; nothing is lost, and the next turn tries again.
            with contextlib.suppress(OSError):
                self._on_trim(through)
                self._trimmed = through

    def _note_age(self) -> None:
        waiting = [*self._buffers, *self._publisher.unfinished]
        self._open_partitions = len(waiting)
        self._oldest_ms = min((rows.oldest_ms for rows in waiting), default=None)


def _accounts(manifest: Manifest) -> dict[tuple[int, Kind], RowAccount]:
    """What was published and quarantined before this start."""
    accounts = {key: RowAccount(published=rows) for key, rows in manifest.rows_published().items()}
    for rows in manifest.quarantined():
        accounts.setdefault((rows.workspace_id, rows.kind), RowAccount()).quarantined += rows.rows
    return accounts


def _first_lsn(rows: PartitionRows) -> int:
    return rows.first_lsn


def _rows_by_workspace(rows: pa.RecordBatch) -> Iterator[tuple[int, int]]:
    column = rows.column(rows.schema.get_field_index("workspace_id"))
    workspaces, counts = np.unique(column.to_numpy(zero_copy_only=False), return_counts=True)
    return zip(workspaces.tolist(), counts.tolist(), strict=True)
