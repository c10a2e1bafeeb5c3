"""Group commit of what workers propose: settle batch ids, append, sync, answer.

All proposals that arrive while the previous ones are being made durable are made durable together, by one
sync, whichever workers they are from.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from app.commit.batch_ids import DeduplicationWindow
from app.commit.group_queue import GroupPolicy
from app.commit.pipeline import Observer
from app.commit.settle import ReadProposal, Settlement, settle
from app.commit.store import AcceptedRows, Journal, Writer
from app.errors import Overloaded
from app.journal.failures import JournalFull
from app.submission import DecodePolicy, Reply, Submission
from app.workers.messages import Failed, Settled

log = logging.getLogger(__name__)

STRAGGLERS_S: Final = 1.0
"""After a failure, proposals are refused until none has come for so long."""


class Waiting(NamedTuple):
    """A proposal, its number, and where what became of it goes."""

    number: int
    read: ReadProposal
    reply: Callable[[Settled | Failed], None]


class ProposalCommitter:
    """Takes the place of `app.commit.pipeline.Committer` in the process that owns the journal: one thread.

    Durability contract: Settled is said only after `journal.append` returned for the frames of the group, and
    after their rows were handed to the writer. If the append fails, every group is told so, `on_fatal` is
    told, and nothing is accepted any more.
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
        self._policy = group_policy
        self._on_fatal = on_fatal
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="commit")

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._thread.start()

    def submit(self, submission: Submission, reply: Reply) -> None:
        """Batches come by workers alone."""
        reply(Overloaded("This process takes no batches; send it to the service's port.", retry_after_s=5))

    def propose(self, waiting: Waiting) -> None:
        """Takes a group; bounded by what each worker may have under way."""
        if self._closed:
            waiting.reply(_stopping(waiting.number))
        else:
            self._queue.put(waiting)

    def close(self) -> None:
        """Commits what was proposed, then ends the thread. Blocks until then."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            open_ = True
            while open_:
                taken, open_ = self._gather()
                if taken:
                    self._commit(taken)
        except BaseException as error:
            self._closed = True
            log.critical("Nothing is accepted any more: %s", error)
            self._on_fatal(error)
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting = self._queue.get(timeout=STRAGGLERS_S)
                    if waiting is not None:
                        waiting.reply(_stopping(waiting.number))

    def _gather(self) -> tuple[list[Waiting], bool]:
        """Waits for a proposal, then takes all that wait, up to the policy; and whether more may come."""
        try:
            waiting = self._queue.get(timeout=self._policy.idle_mark_s)
        except queue.Empty:
            self._journal.mark()
            waiting = self._queue.get()
        taken: list[Waiting] = []
        size = 0
        while waiting is not None:
            taken.append(waiting)
            size += waiting.read.proposal.payload_bytes
            if size >= self._policy.max_bytes:
                return taken, True
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                return taken, True
        return taken, False

    def _commit(self, taken: list[Waiting]) -> None:
        if self._writer.buffered_bytes > self._policy.max_buffered_bytes:
            _fail(taken, "overloaded", "Too many rows wait for their file; send the batch again.")
            return
        try:
            settlements = settle([waiting.read for waiting in taken], self._window)
            sync_seconds = self._make_durable(taken, settlements)
        except JournalFull as error:
            _fail(taken, "full", f"The journal's disk is full: {error}")
            return
        except BaseException:
            _fail(
                taken,
                "unknown",
                "The service failed while this batch was being made durable: it may or may not be stored.",
            )
            raise
        for waiting, settlement in zip(taken, settlements, strict=True):
            waiting.reply(Settled(waiting.number, settlement.outcomes, sync_seconds))

    def _make_durable(self, taken: list[Waiting], settlements: list[Settlement]) -> float:
        frames = [
            (frame, waiting.read.proposal.batches)
            for waiting, settlement in zip(taken, settlements, strict=True)
            for frame in settlement.frames
        ]
        if not frames:
            return 0.0
        appended = self._journal.append([frame.payload for frame, _ in frames])
        # Before the writer has the rows: see app.commit.pipeline.
        for lsn, (frame, _) in enumerate(frames, appended.first_lsn):
            self._window.remember(lsn, frame.receipts)
        with self._accepted.lock:
            for lsn, (frame, batches) in enumerate(frames, appended.first_lsn):
                rows = frame.rows
                for owner, count in zip(rows.owners, rows.counts, strict=True):
                    self._accepted.rows[batches[owner].workspace_id, rows.kind] += count
                self._writer.put(lsn, rows.kind, rows.rows)
        return appended.sync_seconds


def _fail(taken: list[Waiting], kind: str, message: str) -> None:
    for waiting in taken:
        waiting.reply(Failed(waiting.number, kind, message))


def _stopping(number: int) -> Failed:
    return Failed(number, "stopping", "The service is stopping; send the batch again.")
