"""The writer thread: decides when rows are published, and publishes them."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future

import pyarrow as pa

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.partition import Partition
from app.publish.accounts import accounts_of
from app.publish.ages import Ages
from app.publish.buffer import Buffers, PartitionRows
from app.publish.calls import Calls
from app.publish.carrying import Carrier
from app.publish.choice import Choice
from app.publish.destination import Destination
from app.publish.forgetting import ForgetCommand
from app.publish.intake import (
    FlushCommand,
    FlushResult,
    Intake,
    PutRows,
    RowNumbers,
    RowsLeft,
    WriterStopped,
)
from app.publish.local_directory import local_destination
from app.publish.manifest import Manifest
from app.publish.observer import SilentObserver, WriterObserver
from app.publish.passed import PassedPartitions
from app.publish.paths import SinkPaths
from app.publish.publisher import PublishedRows, Publisher
from app.publish.reading_back import BackReader, ReadBack
from app.publish.rotation import WriterPolicy, largest
from app.publish.set_aside import Trouble, describe
from app.publish.unpublished import Unpublished


class Writer:
    """Buffers rows by partition and publishes them. One thread, begun by `start`.

    clock: ms since the epoch. timer: ms on a clock that is never set; waiting is measured by it.
    on_trim(lsn): no frame up to this one is needed any more. on_fatal(exception): the process must end: it is
    not known what is on the disk, or the writer has a bug. destination: where files go; without one, the
    local directory of `paths`. journal_bytes: the present size of the journal. read_back: reads rows out of
    it; without it all rows that wait are kept in memory. first_lsn: of the oldest frame that the journal
    has. order: held while a frame is appended to the journal, until its rows are put.
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
        observer: WriterObserver | None = None,
        destination: Destination | None = None,
        journal_bytes: Callable[[], int] = lambda: 0,
        read_back: ReadBack | None = None,
        first_lsn: Callable[[], int] = lambda: 0,
    ) -> None:
        self._policy = policy
        self._manifest = manifest
        self._clock = clock
        self._timer = timer
        self._on_trim = on_trim
        self._on_fatal = on_fatal
        destination = destination or local_destination(fs, paths)
        observer = observer or SilentObserver()
        self._publisher = Publisher(fs, paths, manifest, destination, policy, clock, timer, observer)
        memory_bytes = None if read_back is None else policy.max_buffered_bytes
        self._intake = Intake(timer, accounts_of(manifest), memory_bytes)
        self._unpublished = Unpublished(manifest, policy.rotation, policy.placings)
        self._back_reader = None if read_back is None else BackReader(read_back, self._unpublished, policy)
        self._buffers = Buffers()
        self.carrier = Carrier(self._buffers, self._back_reader, self._publisher, policy, journal_bytes)
        self.order = self.carrier.order
        self._commands: list[FlushCommand] = []
        self._last_lsn = 0
        self._trimmed = 0
        publisher, intake = self._publisher, self._intake
        calls = Calls(first_lsn, intake.removed, intake.wake, self._trim_again)
        self._passed = PassedPartitions(
            policy, fs, paths, manifest, destination, publisher, clock, timer, observer, calls
        )
        self._choice = Choice(policy, clock, timer, journal_bytes, self._publisher.set_aside)
        self._ages = Ages(manifest, clock, timer)
        self._oldest_ms: int | None = None
        self._open_partitions = 0
        self._thread: threading.Thread | None = None
        self._drain_until_s: float | None = None
        self.last_flush_ms: int | None = None

    def put(self, lsn: int, kind: Kind, rows: pa.RecordBatch) -> None:
        """Take the rows of one journal frame. Never blocks; LSNs rise from call to call.

        Rows of partitions that are published through this LSN already are dropped (replay). Where memory is
        used up, only their numbers are kept, and the journal gives them back.
        """
        if self._intake.has_memory(rows) or not self._unpublished.is_new(lsn):
            self._intake.put(lsn, kind, rows)
        else:
            self._intake.put_left(lsn, self._unpublished.all_rows(lsn, kind, rows))

    def wait_for_room(self, seconds: float) -> None:
        """Wait until this thread has caught up, up to a time limit; not at all while it cannot publish, since
        rows then wait in the journal."""
        if self._publisher.problem is None:
            self._intake.wait_for_room(seconds)

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
        """Memory that those of them hold that are not left to the journal."""
        return self._intake.bytes

    def waiting_of(self, workspace_id: int, journal_bytes: int) -> int:
        """About what a journal of this size has of one workspace, of rows that wait; a tick behind."""
        return self._intake.waiting_of(workspace_id, journal_bytes)

    @property
    def oldest_age_s(self) -> float:
        """How long the oldest of those rows has waited, seconds; 0 when there are none."""
        times = [self._oldest_ms, self._intake.oldest_queued_ms()]
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

    def account(self) -> dict[tuple[int, Kind], RowNumbers]:
        """The account of all rows, by workspace and kind."""
        return self._intake.account()

    def forget(self, command: ForgetCommand) -> None:
        """Remove rows from published files. Raises ValueError if these never change."""
        self._passed.forget(command)
        self._intake.wake()

    def start(self) -> None:
        """Begin the thread. Rows that recovery has put are treated like others."""
        self._passed.start()
        self._thread = threading.Thread(target=self._run, name="parquet-writer", daemon=True)
        self._thread.start()

    def close(self, deadline_s: float) -> bool:
        """Publish all buffered rows, as far as possible within a time limit, and end the thread.

        Returns whether everything was published; what was not is in the journal.
        """
        self._drain_until_s = time.monotonic() + deadline_s
        if self._thread is not None:
            self._intake.wake()
            self._thread.join(deadline_s)
        return self.buffered_rows == 0

    def _run(self) -> None:
        try:
            more = False
            while not self._drained():
                if not more:
                    self._intake.wait(self._policy.tick_ms / 1000)
                more = self.turn(everything=self._drain_until_s is not None)
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
        self._passed.stop(reason)

    def turn(self, *, everything: bool = False) -> bool:
        """One look at what came in and what is due; what `start` repeats. Raises SyncFailed.

        Returns whether there is more to be done at once.
        """
        more = False
        self._take_in()
        if self._publisher.may_try():
            self._done(self._publisher.resume())
            self._put_back()
        if self._publisher.may_try() and self._publisher.is_idle:
            more = self._publish(
                self._choice.choose(
                    list(self._buffers), self._commands, self._intake.bytes, self._last_lsn, everything
                )
            )
            if self._publisher.is_idle:
                self._passed.turn(self._has_rows)
        if not everything and self.carrier.turn(self._last_lsn, self._take_in, self._commands):
            self._measure()
            more = True
        self._let_go()
        self._trim()
        return more

    def _take_in(self) -> None:
        while (item := self._intake.peek()) is not None:
            match item:
                case PutRows():
                    self._buffer(item)
                case RowsLeft():
                    self._leave(item)
                case _:
                    self._accept(item)
        self._measure()

    def _buffer(self, item: PutRows) -> None:
        kept: Counter[tuple[int, Kind]] = Counter()
        recovered: Counter[tuple[int, Kind]] = Counter()
        for partition, rows in self._unpublished.rows(item.lsn, item.kind, item.rows):
            opened_ms = self._ages.opened_ms(partition, item.put_ms)
            buffer = self._buffers.open(partition, item.lsn, item.put_ms, opened_ms)
            buffer.add(item.lsn, rows)
            kept[partition.workspace_id, partition.kind] += rows.num_rows
            if (path := self._unpublished.lost_from(partition, item.lsn)) is not None:
                buffer.recovered.add(path, item.lsn, rows.num_rows)
                recovered[partition.workspace_id, partition.kind] += rows.num_rows
        self._last_lsn = max(self._last_lsn, item.lsn)
        self._intake.taken(kept, recovered)

    def _leave(self, item: RowsLeft) -> None:
        kept: Counter[tuple[int, Kind]] = Counter()
        for partition, left in item.partitions.items():
            opened_ms = self._ages.opened_ms(partition, item.put_ms)
            buffer = self._buffers.open(partition, left.first_lsn, item.put_ms, opened_ms)
            buffer.add_in_journal(left.last_lsn, left.rows, left.bytes)
            kept[partition.workspace_id, partition.kind] += left.rows
        self._last_lsn = max(self._last_lsn, item.last_lsn)
        self._intake.taken(kept)

    def _let_go(self) -> None:
        """Leave to the journal what publishing has not made room for."""
        if self._back_reader is None:
            return
        buffers = list(self._buffers)
        sizes = [(rows.bytes, index) for index, rows in enumerate(buffers)]
        chosen = largest(sizes, self._intake.bytes, self._policy)
        for index in chosen:
            buffers[index].let_go()
        if chosen:
            self._measure()

    def _accept(self, command: FlushCommand) -> None:
        for rows in (*self._publisher.unfinished, *self.carrier.in_hand, *self._buffers):
            if command.concerns(rows.partition):
                command.waiting[rows.partition] = rows.last_lsn
                if not command.hastens:
                    self._publisher.set_aside.retry_now(rows.partition)
        self._intake.taken()
        command.resolve_if_done()
        if command.waiting:
            self._commands.append(command)

    def _publish(self, due: list[PartitionRows]) -> bool:
        """Whether some of them are to be gone on with at once."""
        in_memory = [rows.partition for rows in due if not rows.rows_in_journal]
        step = self._policy.max_partitions_per_publication
        for start in range(0, len(in_memory), step):
            if not self._commit(self._buffers.take(in_memory[start : start + step])):
                break
            self._trim()
        more = False
        in_journal = [rows for rows in due if rows.rows_in_journal]
        may_go_on = self._publisher.may_try() and self._publisher.is_idle
        if in_journal and self._back_reader is not None and may_go_on:
            taken = self._back_reader.take(
                self._buffers, self._back_reader.choose(self._choice.together(in_journal))
            )
            more = not taken or self._commit(taken)
        self._give_up()
        return more

    def _commit(self, taken: list[PartitionRows]) -> bool:
        """Whether that worked, and more can be published now."""
        done, left = self._publisher.commit(taken)
        self._buffers.restore(left)
        self._done(done)
        self._put_back()
        return self._publisher.problem is None and self._publisher.is_idle

    def _put_back(self) -> None:
        """Rows of partitions that were left out of a commit."""
        self._buffers.restore(self._publisher.returned())
        self._measure()
        self._give_up()

    def _give_up(self) -> None:
        """Whoever waits for a partition that fails by itself is told why."""
        for trouble in self._publisher.set_aside.troubles():
            for command in self._commands:
                if trouble.lasts and trouble.partition in command.waiting:
                    command.give_up(trouble.partition, describe(trouble))
        self._commands = [command for command in self._commands if command.waiting]

    def _done(self, published: Iterable[PublishedRows]) -> None:
        for each in published:
            self._intake.published(each.taken, each.flush.rows)
            copied = max((placement.bytes for placement in each.flush.placements), default=0)
            self._choice.note_copy(each.taken.partition, copied)
            for command in self._commands:
                command.note(each.taken, each.flush)
            self.last_flush_ms = self._clock()
        self._commands = [command for command in self._commands if command.waiting]
        self._measure()

    def _has_rows(self, partition: Partition) -> bool:
        return self._buffers.get(partition) is not None

    def _trim(self) -> None:
        """Tell the journal which frames are no longer needed, once the place of their rows is recorded."""
        if not (self._publisher.is_idle or self._publisher.unfinished):
            return
        waiting = [rows.first_lsn for rows in (*self._buffers, *self._publisher.unfinished)]
        through = min(waiting) - 1 if waiting else self._last_lsn
        if through > self._trimmed:
            # A full disk can keep the journal from noting it; nothing is lost, and the next turn tries again.
            with contextlib.suppress(OSError):
                self._on_trim(through)
                self._trimmed = through

    def _trim_again(self) -> None:
        self._trimmed = 0  # the journal may have sealed a segment since
        self._trim()

    def _measure(self) -> None:
        waiting = [*self._buffers, *self._publisher.unfinished]
        self._open_partitions = len(waiting)
        self._oldest_ms = min((rows.oldest_ms for rows in waiting), default=None)
        by_workspace: Counter[int] = Counter()
        for rows in waiting:
            by_workspace[rows.partition.workspace_id] += rows.bytes + rows.bytes_in_journal
        self._intake.measured(sum(rows.bytes for rows in waiting), by_workspace)
