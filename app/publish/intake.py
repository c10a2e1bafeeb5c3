"""The writer's queue: rows and flush commands from other threads, in one order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from copy import copy
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from app.kinds import Kind
from app.parquet.data_file import DataFile
from app.parquet.partition import Partition
from app.publish.buffer import PartitionRows
from app.publish.stage import StagedFlush

WAKE_BYTES: Final = 8 << 20
"""Rows wait for the writer's next tick until they have this many bytes."""


class FlushResult(msgspec.Struct, frozen=True):
    """flushed_rows: rows that this flush published. files: the files they are in now."""

    flushed_rows: int
    files: list[DataFile]


class WriterStopped(Exception):
    """The writer has ended; rows that are not published are in the journal."""


class NotPublished(Exception):
    """Some of the rows are not in files yet, with the reason. They are in the journal, and publishing is
    retried."""


class RowNumbers(msgspec.Struct):
    """Numbers of rows of one workspace and kind."""

    buffered: int = 0
    published: int = 0
    quarantined: int = 0
    removed: int = 0

    @property
    def accepted(self) -> int:
        return self.buffered + self.published + self.quarantined + self.removed


class PutRows(msgspec.Struct, frozen=True):
    """Rows of one frame. put_ms: on a clock that is never set."""

    lsn: int
    kind: Kind
    rows: pa.RecordBatch
    bytes: int
    put_ms: int


class Left(msgspec.Struct):
    """Rows of one partition that were left to the journal. bytes: what they took in memory."""

    first_lsn: int
    last_lsn: int
    rows: int
    bytes: int


class RowsLeft(msgspec.Struct, eq=False):
    """Rows that memory had no room for, of any number of frames. is_open: whether it may still grow."""

    last_lsn: int
    put_ms: int
    partitions: dict[Partition, Left] = {}
    is_open: bool = True

    def add(self, lsn: int, divided: Iterable[tuple[Partition, pa.RecordBatch]]) -> None:
        self.last_lsn = lsn
        for partition, rows in divided:
            left = self.partitions.setdefault(partition, Left(lsn, lsn, 0, 0))
            left.last_lsn = lsn
            left.rows += rows.num_rows
            left.bytes += rows.get_total_buffer_size()


class FlushCommand(msgspec.Struct, eq=False):
    """workspace_id, partitions: what to flush; None of both: everything.

    waiting: partitions that are still to be published, and through which LSN; filled when the writer sees the
        command. problems: why some of them could not be. hastens: what is published anyway; it waits for its
        turn.
    """

    future: Future[FlushResult]
    workspace_id: int | None
    partitions: frozenset[Partition] | None
    waiting: dict[Partition, int] = {}
    flushed_rows: int = 0
    files: dict[str, DataFile] = {}
    problems: list[str] = []
    hastens: bool = False

    def concerns(self, partition: Partition) -> bool:
        if self.partitions is not None and partition not in self.partitions:
            return False
        return self.workspace_id is None or partition.workspace_id == self.workspace_id

    def note(self, taken: PartitionRows, flush: StagedFlush) -> None:
        """Rows of a partition were published; the last ones that are waited for resolve the future."""
        if taken.partition not in self.waiting:
            return
        if taken.last_lsn >= self.waiting[taken.partition]:
            del self.waiting[taken.partition]
        self.flushed_rows += flush.rows
        self.files.update((file.path, file) for file in flush.files)
        self.resolve_if_done()

    def give_up(self, partition: Partition, problem: str) -> None:
        """A partition cannot be published now; the command does not wait for it."""
        if self.waiting.pop(partition, None) is not None:
            self.problems.append(problem)
            self.resolve_if_done()

    def resolve_if_done(self) -> None:
        if self.waiting or self.future.done():
            return
        if self.problems:
            more = "" if len(self.problems) == 1 else f" (and {len(self.problems) - 1} more)"
            self.future.set_exception(NotPublished(self.problems[0] + more))
        else:
            self.future.set_result(FlushResult(self.flushed_rows, list(self.files.values())))


class Intake:
    """The queue into the writer, and the count of everything that is put and not yet published.

    memory_bytes: what queued and buffered rows may take; None where no journal could give rows back. Rows
    beyond it are put as numbers.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        accounts: dict[tuple[int, Kind], RowNumbers],
        memory_bytes: int | None = None,
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._queue: deque[PutRows | RowsLeft | FlushCommand] = deque()
        self._queued_bytes = 0
        self._held_bytes = 0
        self._memory_bytes = memory_bytes
        self._woken = False
        self._closed: BaseException | None = None
        self._accounts = accounts
        self._waiting: Mapping[int, int] = MappingProxyType({})
        self._waiting_bytes = 0
        self.rows = 0

    @property
    def bytes(self) -> int:
        """Memory of all rows that are queued or buffered."""
        return self._queued_bytes + self._held_bytes

    def put(self, lsn: int, kind: Kind, rows: pa.RecordBatch) -> None:
        size = rows.get_total_buffer_size()
        with self._ready:
            self._queue.append(PutRows(lsn, kind, rows, size, self._clock()))
            self.rows += rows.num_rows
            self._queued_bytes += size
            if self._queued_bytes >= WAKE_BYTES:
                self._wake()

    def has_memory(self, rows: pa.RecordBatch) -> bool:
        """Whether these rows may be put as they are."""
        limit = self._memory_bytes
        return limit is None or self.bytes + rows.get_total_buffer_size() <= limit

    def put_left(self, lsn: int, divided: Iterable[tuple[Partition, pa.RecordBatch]]) -> None:
        """Rows of one frame that the journal alone holds: what is kept here are their numbers."""
        divided = list(divided)
        with self._ready:
            last = self._queue[-1] if self._queue else None
            if not isinstance(last, RowsLeft) or not last.is_open:
                last = RowsLeft(lsn, self._clock())
                self._queue.append(last)
            last.add(lsn, divided)
            self.rows += sum(rows.num_rows for _, rows in divided)

    def wait_for_room(self, seconds: float) -> None:
        """Wait until the writer has taken most of the queue, or memory is no longer short, up to a time
        limit."""
        limit = self._memory_bytes
        if limit is not None:
            with self._room:
                self._room.wait_for(
                    lambda: self._queued_bytes <= limit // 4 or self.bytes <= 15 * limit // 16, seconds
                )

    def command(self, command: FlushCommand) -> None:
        with self._ready:
            if self._closed is not None:
                command.future.set_exception(self._closed)
                return
            self._queue.append(command)
            self._wake()

    def wake(self) -> None:
        with self._ready:
            self._wake()

    def _wake(self) -> None:
        self._woken = True
        self._ready.notify()

    def wait(self, seconds: float) -> None:
        """Wait until the writer is woken, up to a time limit."""
        with self._ready:
            self._ready.wait_for(lambda: self._woken, seconds)
            self._woken = False

    def peek(self) -> PutRows | RowsLeft | FlushCommand | None:
        """The next item; it counts as queued until `taken`."""
        with self._ready:
            item = self._queue[0] if self._queue else None
            if isinstance(item, RowsLeft):
                item.is_open = False
            return item

    def waiting_of(self, workspace_id: int, journal_bytes: int) -> int:
        """About what a journal of this size has of one workspace, of rows that wait.

        Its part of all that wait, and no more than its rows would take in memory: the journal has more than
        what waits, since its oldest frames go first. What is still queued is not divided yet.
        """
        with self._lock:
            waiting = self._waiting.get(workspace_id, 0)
            return min(waiting, journal_bytes * waiting // self._waiting_bytes) if waiting else 0

    def taken(
        self,
        kept: Mapping[tuple[int, Kind], int] = MappingProxyType({}),
        recovered: Mapping[tuple[int, Kind], int] = MappingProxyType({}),
    ) -> None:
        """The item that was peeked is buffered now. kept: how many rows of it are (still) unpublished.

        recovered: those of them that counted as published, in a file that is lost.
        """
        with self._ready:
            item = self._queue.popleft()
            if isinstance(item, PutRows):
                self._queued_bytes -= item.bytes
                self._held_bytes += item.bytes
                self.rows += sum(kept.values()) - item.rows.num_rows
                self._room.notify_all()
            for key, rows in kept.items():
                self._accounts.setdefault(key, RowNumbers()).buffered += rows
            for key, rows in recovered.items():
                self._accounts[key].published -= rows

    def published(self, taken: PartitionRows, rows: int) -> None:
        """Rows that were taken are published: this many in files, the others in quarantine."""
        key = taken.partition.workspace_id, taken.partition.kind
        with self._ready:
            account = self._accounts[key]
            account.buffered -= taken.rows
            account.published += rows
            account.quarantined += taken.rows - rows
            self.rows -= taken.rows

    def removed(self, partition: Partition, rows: int) -> None:
        """So many rows of published files went with the files."""
        key = partition.workspace_id, partition.kind
        with self._ready:
            account = self._accounts.setdefault(key, RowNumbers())
            account.published -= rows
            account.removed += rows

    def measured(self, held_bytes: int, waiting: Mapping[int, int]) -> None:
        """What buffered rows take of memory, and what waits by workspace, in memory or in the journal."""
        with self._ready:
            self._held_bytes = held_bytes
            self._waiting_bytes = sum(waiting.values())
            self._waiting = waiting
            self._room.notify_all()

    def account(self) -> dict[tuple[int, Kind], RowNumbers]:
        """The account of all rows, by workspace and kind, at one moment."""
        with self._lock:
            accounts = {key: copy(account) for key, account in self._accounts.items()}
            for item in self._queue:
                if isinstance(item, RowsLeft):
                    for partition, left in item.partitions.items():
                        key = partition.workspace_id, partition.kind
                        accounts.setdefault(key, RowNumbers()).buffered += left.rows
            queued = [item for item in self._queue if isinstance(item, PutRows)]
        for put in queued:
            for workspace_id, rows in _rows_by_workspace(put.rows):
                accounts.setdefault((workspace_id, put.kind), RowNumbers()).buffered += rows
        return accounts

    def oldest_queued_ms(self) -> int | None:
        with self._ready:
            items = (item for item in self._queue if not isinstance(item, FlushCommand))
            return next((item.put_ms for item in items), None)

    def close(self, reason: BaseException) -> list[FlushCommand]:
        """Refuse further commands with this reason; return those that were not started."""
        with self._ready:
            self._closed = reason
            return [item for item in self._queue if isinstance(item, FlushCommand)]


def _rows_by_workspace(rows: pa.RecordBatch) -> Iterator[tuple[int, int]]:
    column = rows.column(rows.schema.get_field_index("workspace_id"))
    workspaces, counts = np.unique(column.to_numpy(zero_copy_only=False), return_counts=True)
    return zip(workspaces.tolist(), counts.tolist(), strict=True)
