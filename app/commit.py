"""Group commit: gather, decode, append, sync, answer.

All batches that arrive while the previous group is being made durable form the next one. They are decoded
together, so that the fixed cost of the vectorised pass is paid once a group, made durable by one sync, and
answered with one wake-up of the event loop. A bad batch is refused alone.
"""

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import pyarrow as pa

from app.deduplication import DeduplicationWindow
from app.errors import DiskFull, OutcomeUnknown, Overloaded
from app.group import Answer, Group, GroupCounts, Pending, Reply
from app.journal.failures import JournalFull
from app.rows_frame import RowsFrameCodec
from app.schema import Kind
from app.submission import DecodePolicy, Submission

log = logging.getLogger(__name__)


class Appended(Protocol):
    """first_lsn: of the first frame appended; the others follow it one by one."""

    @property
    def first_lsn(self) -> int: ...
    @property
    def sync_seconds(self) -> float: ...


class Journal(Protocol):
    """Where a group becomes durable: `append` returns when it is."""

    def append(self, payloads: Sequence[Sequence[bytes | pa.Buffer]]) -> Appended: ...
    def mark(self) -> None: ...


class Writer(Protocol):
    """Takes rows that are durable; never blocks. buffered_bytes: what it holds of them."""

    @property
    def buffered_bytes(self) -> int: ...
    def put(self, lsn: int, kind: Kind, rows: pa.RecordBatch) -> None: ...


class Observer(Protocol):
    """Told once a group, on the commit thread."""

    def group_committed(self, counts: GroupCounts, sync_seconds: float) -> None: ...


class GroupPolicy(msgspec.Struct, frozen=True):
    """How much one group takes.

    max_bytes: bodies beyond the first. max_batches: batches.
    idle_mark_s: after that long without a batch, a mark frame vouches for the last group.
    linger_s: while several clients send small batches, a group waits so long for more, and again as long as
        more come, `lingers_max` times: what a group costs is then shared by more of them.
    linger_below_bytes: larger groups do not wait.
    max_buffered_bytes: no group is taken while the writer holds more. Admission refuses long before, but
        what it has let in can grow many times when it is decoded: rows may share bytes of their body.
    """

    max_bytes: int = 8 << 20
    max_batches: int = 4_096
    idle_mark_s: float = 0.5
    linger_s: float = 0.001
    lingers_max: int = 3
    linger_below_bytes: int = 256 << 10
    max_buffered_bytes: int = 1 << 30


class AcceptedRows:
    """Rows acknowledged, by workspace and kind: what the files are held against.

    `lock` is held while rows pass from here to the writer, and by whoever reads both accounts.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rows: Counter[tuple[int, Kind]] = Counter()


class Committer:
    """Owns the commit thread. `submit` is called on the event loop, and so are the replies.

    Durability contract: a reply is a Receipt only after `journal.append` returned for the frame that holds
    the batch's rows, and after these rows were handed to the writer. If the append fails, every batch of the
    group is answered OutcomeUnknown, `on_fatal` is told, and nothing is accepted any more.
    """

    def __init__(
        self,
        journal: Journal,
        writer: Writer,
        window: DeduplicationWindow,
        accepted: AcceptedRows,
        observer: Observer,
        decode_policy: DecodePolicy,
        group_policy: GroupPolicy,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._journal = journal
        self._writer = writer
        self._window = window
        self._accepted = accepted
        self._observer = observer
        self._decode_policy = decode_policy
        self._group_policy = group_policy
        self._on_fatal = on_fatal
        self._codec = RowsFrameCodec()
        self._queue: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self._several = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Replies are called on `loop`."""
        self._thread = threading.Thread(target=self._run, args=(loop,), name="commit")
        self._thread.start()

    def submit(self, submission: Submission, reply: Reply) -> None:
        """Takes a batch. The queue is bounded by the bytes that admission lets in."""
        if self._closed:
            reply(Overloaded("The service is stopping; send the batch again.", retry_after_s=5))
        else:
            self._queue.put((submission, reply))

    def close(self) -> None:
        """Commits and answers what was submitted, then ends the thread. Blocks until then."""
        self._closed = True
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while True:
                pending, closed = self._gather()
                if pending:
                    self._commit(Group(pending), loop)
                if closed:
                    return
        except BaseException as error:
            self._closed = True
            log.critical("Nothing is accepted any more: %s", error)
            self._on_fatal(error)
            self._refuse_the_rest(loop)

    def _gather(self) -> tuple[list[Pending], bool]:
        """Waits for a batch, then takes all that wait, up to the policy; and whether the queue was closed."""
        try:
            entry = self._queue.get(timeout=self._group_policy.idle_mark_s)
        except queue.Empty:
            self._journal.mark()
            entry = self._queue.get()
        pending: list[Pending] = []
        size, closed = self._take(entry, pending, 0)
        policy = self._group_policy
        for _ in range(policy.lingers_max if self._several else 0):
            before = len(pending)
            if closed or before >= policy.max_batches or size >= policy.linger_below_bytes:
                break
            time.sleep(policy.linger_s)
            with contextlib.suppress(queue.Empty):
                size, closed = self._take(self._queue.get_nowait(), pending, size)
            if len(pending) == before:
                break
        self._several = len(pending) > 1
        return pending, closed

    def _take(self, entry: Pending | None, pending: list[Pending], size: int) -> tuple[int, bool]:
        """Adds this entry and those behind it; the bytes of all, and whether the queue was closed."""
        policy = self._group_policy
        while entry is not None:
            pending.append(entry)
            size += len(entry[0].body)
            if size >= policy.max_bytes or len(pending) >= policy.max_batches:
                return size, False
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return size, False
        return size, True

    def _commit(self, group: Group, loop: asyncio.AbstractEventLoop) -> None:
        if self._writer.buffered_bytes > self._group_policy.max_buffered_bytes:
            full = Overloaded(
                "Too many rows wait for their file; send the batch again.",
                retry_after_s=2,
                code="buffer_full",
            )
            _answer(loop, [(reply, full) for reply in group.replies])
            return
        try:
            group.decode(self._decode_policy, self._window, self._codec)
            sync_seconds = self._make_durable(group) if group.payloads else 0.0
        except JournalFull as error:
            refusal = DiskFull(f"The journal's disk is full: {error}", retry_after_s=30)
            _answer(loop, [(reply, refusal) for reply in group.replies])
            return
        except BaseException:
            unknown = OutcomeUnknown(
                "The service failed while this batch was being made durable: it may or may not be stored."
            )
            _answer(loop, [(reply, unknown) for reply in group.replies])
            raise
        _answer(loop, list(zip(group.replies, group.answers, strict=True)))
        self._observer.group_committed(group.counts, sync_seconds)

    def _make_durable(self, group: Group) -> float:
        appended = self._journal.append(group.payloads)
        # Before the writer has the rows: once they are published their frame may be trimmed, and only what
        # the window holds by then is saved.
        for lsn, receipts in enumerate(group.receipts, appended.first_lsn):
            self._window.remember(lsn, receipts)
        with self._accepted.lock:
            self._accepted.rows.update(group.counts.accepted)
            for lsn, rows in enumerate(group.rows, appended.first_lsn):
                self._writer.put(lsn, rows.kind, rows.rows)
        return appended.sync_seconds

    def _refuse_the_rest(self, loop: asyncio.AbstractEventLoop) -> None:
        """Those still in the queue were not written anywhere."""
        refusal = Overloaded("The service is stopping; send the batch again.", retry_after_s=5)
        while True:
            try:
                entry = self._queue.get(timeout=1.0)
            except queue.Empty:
                return
            if entry is not None:
                _answer(loop, [(entry[1], refusal)])


def _answer(loop: asyncio.AbstractEventLoop, answers: list[tuple[Reply, Answer]]) -> None:
    loop.call_soon_threadsafe(_deliver, answers)


def _deliver(answers: list[tuple[Reply, Answer]]) -> None:
    for reply, answer in answers:
        reply(answer)
