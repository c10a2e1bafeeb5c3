"""What other threads hand to the writer: rows and flush commands, in one order."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from copy import copy
from types import MappingProxyType
from typing import Final

import msgspec
import pyarrow as pa

from app.kinds import Kind
from app.parquet.data_file import DataFile
from app.parquet.partition import Partition
from app.publish.buffer import PartitionRows
from app.publish.stage import StagedFlush

WAKE_BYTES: Final = 8 << 20
"""Rows wait for the writer's next tick until there are so many bytes of them."""


class FlushResult(msgspec.Struct, frozen=True):
    """flushed_rows: rows that this flush published. files: the files they are in now."""

    flushed_rows: int
    files: list[DataFile]


class WriterStopped(Exception):
    """The writer has ended; rows that are not published are in the journal."""


class NotPublished(Exception):
    """Some of the rows are not in files yet, and why. They are in the journal, and are tried again."""


class RowAccount(msgspec.Struct):
    """Numbers of rows of one workspace and kind."""

    buffered: int = 0
    published: int = 0
    quarantined: int = 0


class PutRows(msgspec.Struct, frozen=True):
    lsn: int
    kind: Kind
    rows: pa.RecordBatch
    bytes: int
    put_ms: int
    """On a clock that is never set."""


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

    Its length is not bounded here: admission refuses batches by `rows` and `bytes`.
    """

    def __init__(self, clock: Callable[[], int], accounts: dict[tuple[int, Kind], RowAccount]) -> None:
        self._clock = clock
        self._ready = threading.Condition()
        self._queue: deque[PutRows | FlushCommand] = deque()
        self._queued_bytes = 0
        self._woken = False
        self._closed: BaseException | None = None
        self._accounts = accounts
        self._bytes_of: Counter[int] = Counter()
        self.rows = 0
        self.bytes = 0

    def put(self, lsn: int, kind: Kind, rows: pa.RecordBatch) -> None:
        size = rows.get_total_buffer_size()
        item = PutRows(lsn, kind, rows, size, self._clock())
        with self._ready:
            self._queue.append(item)
            self.rows += rows.num_rows
            self.bytes += size
            self._queued_bytes += size
            if self._queued_bytes >= WAKE_BYTES:
                self._wake()

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
        """Until somebody wakes the writer, at most so long."""
        with self._ready:
            self._ready.wait_for(lambda: self._woken, seconds)
            self._woken = False

    def peek(self) -> PutRows | FlushCommand | None:
        """The next item; it counts as queued until `taken`."""
        with self._ready:
            return self._queue[0] if self._queue else None

    def bytes_of(self, workspace_id: int) -> int:
        """What is buffered of one workspace; what is still queued is not divided yet."""
        return self._bytes_of[workspace_id]

    def taken(
        self,
        kept: Mapping[tuple[int, Kind], int] = MappingProxyType({}),
        kept_bytes: Mapping[int, int] = MappingProxyType({}),
        recovered: Mapping[tuple[int, Kind], int] = MappingProxyType({}),
    ) -> None:
        """The item that was peeked is buffered now. kept: how many rows of it are (still) unpublished.

        kept_bytes: what they add, by workspace; negative where small batches were joined. recovered: those of
        them that counted as published, in a file that is lost.
        """
        with self._ready:
            item = self._queue.popleft()
            if isinstance(item, PutRows):
                self._queued_bytes -= item.bytes
                self.rows += sum(kept.values()) - item.rows.num_rows
                self.bytes -= item.bytes
                self._add_bytes(kept_bytes)
                for key, rows in kept.items():
                    self._accounts.setdefault(key, RowAccount()).buffered += rows
                for key, rows in recovered.items():
                    self._accounts[key].published -= rows

    def published(self, taken: PartitionRows, rows: int) -> None:
        """What was taken is in its place: so many rows in files, the others in quarantine."""
        key = taken.partition.workspace_id, taken.partition.kind
        with self._ready:
            account = self._accounts[key]
            account.buffered -= taken.rows
            account.published += rows
            account.quarantined += taken.rows - rows
            self.rows -= taken.rows
            self._add_bytes({taken.partition.workspace_id: -taken.bytes})

    def resized(self, more_bytes: Mapping[int, int]) -> None:
        """Buffered rows hold so many bytes more, by workspace."""
        with self._ready:
            self._add_bytes(more_bytes)

    def _add_bytes(self, more_bytes: Mapping[int, int]) -> None:
        for workspace_id, count in more_bytes.items():
            self.bytes += count
            self._bytes_of[workspace_id] += count
            if not self._bytes_of[workspace_id]:
                del self._bytes_of[workspace_id]

    def account(self) -> tuple[dict[tuple[int, Kind], RowAccount], list[PutRows]]:
        """Accounts without what is still queued, and that, at one moment."""
        with self._ready:
            queued = [item for item in self._queue if isinstance(item, PutRows)]
            return {key: copy(account) for key, account in self._accounts.items()}, queued

    def oldest_queued(self) -> PutRows | None:
        with self._ready:
            return next((item for item in self._queue if isinstance(item, PutRows)), None)

    def close(self, reason: BaseException) -> list[FlushCommand]:
        """Refuse further commands with this reason; return those that nobody has looked at."""
        with self._ready:
            self._closed = reason
            return [item for item in self._queue if isinstance(item, FlushCommand)]
