"""Group commit: gather, decode, append, sync, answer.

All batches that arrive while the previous group is being made durable form the next one. They are decoded
together, so that the fixed cost of the vectorised pass is paid once a group, made durable by one sync, and
answered with one wake-up of the event loop. A bad batch is refused alone.

Two threads share the work. One gathers and decodes; the other judges by batch ids, appends, syncs and
answers, group by group in the same order. So a large group is decoded while the disk works on the last one.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from app.commit.batch_ids import DeduplicationWindow
from app.commit.group import Group, GroupCounts
from app.commit.group_queue import Gatherer, GroupPolicy
from app.commit.handover import Handover
from app.commit.payload import RowsFrameCodec
from app.commit.store import AcceptedRows, Journal, Writer
from app.errors import DiskFull, OutcomeUnknown, Overloaded
from app.journal.failures import JournalFull
from app.submission import Answer, DecodePolicy, Reply, Submission

log = logging.getLogger(__name__)

STRAGGLERS_S: Final = 1.0
"""After a failure, batches are refused until none has come for so long."""


class Observer(Protocol):
    """Told once a group, on the thread that commits."""

    def group_committed(self, counts: GroupCounts, sync_seconds: float) -> None: ...


class TakesBatches(Protocol):
    """What stands between the event loop and the journal."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None: ...
    def submit(self, submission: Submission, reply: Reply) -> None: ...
    def close(self) -> None: ...


class Committer:
    """Owns both threads. `submit` is called on the event loop, and so are the replies.

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
        self._decoded: Handover[Group] = Handover()
        self._gatherer = Gatherer(group_policy, journal.mark, self._decoded.wait_until_idle)
        self._closed = False
        self._failed = False
        self._threads: list[threading.Thread] = []

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Replies are called on `loop`."""
        for name, run in (("commit", self._run_commit), ("decode", self._run_decode)):
            thread = threading.Thread(target=run, args=(loop,), name=name)
            self._threads.append(thread)
            thread.start()

    def submit(self, submission: Submission, reply: Reply) -> None:
        """Takes a batch."""
        if self._closed:
            reply(_stopping())
        else:
            self._gatherer.put((submission, reply))

    def close(self) -> None:
        """Commits and answers what was submitted, then ends the threads. Blocks until then."""
        self._closed = True
        self._gatherer.close()
        for thread in self._threads:
            thread.join()

    def _fail(self, error: BaseException) -> None:
        self._closed = self._failed = True
        log.critical("Nothing is accepted any more: %s", error)
        self._on_fatal(error)
        self._gatherer.close()

    def _run_decode(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            closed = False
            while not closed:
                pending, closed = self._gatherer.gather()
                if pending:
                    self._decode(Group(pending), loop)
        except BaseException as error:
            self._fail(error)
        self._decoded.close()
        if self._failed:
            # Those still in the queue were not written anywhere.
            rest = self._gatherer.rest(STRAGGLERS_S)
            _answer(loop, [(reply, _stopping()) for _, reply in rest])

    def _decode(self, group: Group, loop: asyncio.AbstractEventLoop) -> None:
        refusal = _stopping()
        try:
            if self._writer.buffered_bytes > self._group_policy.max_buffered_bytes:
                refusal = Overloaded(
                    "Too many rows wait for their file; send the batch again.",
                    retry_after_s=2,
                    code="buffer_full",
                )
            else:
                group.decode(self._decode_policy)
                if self._decoded.give(group):
                    return
        except BaseException:
            _answer_all(loop, group, refusal)
            raise
        _answer_all(loop, group, refusal)

    def _run_commit(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while (group := self._decoded.take()) is not None:
                self._commit(group, loop)
        except BaseException as error:
            self._fail(error)
            self._decoded.close()
            if (group := self._decoded.take()) is not None:
                _answer_all(loop, group, _stopping())

    def _commit(self, group: Group, loop: asyncio.AbstractEventLoop) -> None:
        try:
            group.judge(self._window, self._codec)
            sync_seconds = self._make_durable(group) if group.payloads else 0.0
        except JournalFull as error:
            _answer_all(loop, group, DiskFull(f"The journal's disk is full: {error}", retry_after_s=30))
            return
        except BaseException:
            unknown = OutcomeUnknown(
                "The service failed while this batch was being made durable: it may or may not be stored."
            )
            _answer_all(loop, group, unknown)
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


def _stopping() -> Overloaded:
    return Overloaded("The service is stopping; send the batch again.", retry_after_s=5)


def _answer_all(loop: asyncio.AbstractEventLoop, group: Group, answer: Answer) -> None:
    _answer(loop, [(reply, answer) for reply in group.replies])


def _answer(loop: asyncio.AbstractEventLoop, answers: list[tuple[Reply, Answer]]) -> None:
    loop.call_soon_threadsafe(_deliver, answers)


def _deliver(answers: list[tuple[Reply, Answer]]) -> None:
    for reply, answer in answers:
        reply(answer)
