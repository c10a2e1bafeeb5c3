"""The process that owns the journal, as a store: groups are proposed over a socket, and it reports their
outcomes.

One thread receives, and dispatches other messages.
"""

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from app.commit.group import Group
from app.commit.payload import RowsFrameCodec
from app.commit.recent_refusals import RecentRefusal
from app.commit.settle import BatchOutcome, Proposal, ProposedFrame, frame_of
from app.commit.store import NotStored
from app.workers.messages import (
    AdmissionState,
    Channel,
    Family,
    GroupFailed,
    GroupStored,
    Measure,
    Measured,
    Noted,
    Propose,
    Publish,
    PublishDone,
    StateSeen,
    ToWorker,
)

log = logging.getLogger(__name__)


class RemoteStore:
    """A group is durable when the owner of the journal has said so.

    Two groups are under way at a time: one is made durable while the next is sent.
    on_state: told what admission goes by, on the receiving thread. measure: what was counted so far.
    on_lost: the owner is gone: nothing that is under way can be answered truthfully any more.
    """

    stores_at_once: Final = 2

    def __init__(
        self,
        channel: Channel,
        on_state: Callable[[AdmissionState], None],
        measure: Callable[[], Sequence[Family]],
        on_lost: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._on_state = on_state
        self._measure = measure
        self._on_lost = on_lost
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._is_lost = False
        self._under_way: dict[int, Future[GroupStored | GroupFailed]] = {}
        self._publishing: dict[int, Future[bool]] = {}
        self._receiving = threading.Thread(target=self._run_receive, name="answers", daemon=True)

    def start(self) -> None:
        self._receiving.start()

    def wait_for_room(self) -> None:
        """The owner of the journal answers when it has room."""

    def idle(self) -> None:
        """The owner of the journal knows when nothing comes."""

    def store(self, group: Group) -> float:
        proposal = proposal_of(group)
        if not proposal.frames:
            group.conclude([BatchOutcome()] * len(group.batches))
            return 0.0
        said = self._propose(proposal).result()
        if isinstance(said, GroupFailed):
            raise NotStored(said.why, said.text)
        group.conclude(said.outcomes)
        return said.sync_seconds

    async def publish(self, workspace_id: int) -> bool:
        """Publishes what this workspace has had accepted; whether that succeeded."""
        done: Future[bool] = Future()
        number = next(self._numbers)
        self._publishing[number] = done
        await asyncio.to_thread(self._channel.send, Publish(number, workspace_id))
        return await asyncio.wrap_future(done)

    def note(self, refused: Sequence[RecentRefusal]) -> None:
        """Reports this worker's refusals to the owner of the journal."""
        self._say(Noted(refused))

    def _propose(self, proposal: Proposal) -> "Future[GroupStored | GroupFailed]":
        said: Future[GroupStored | GroupFailed] = Future()
        number = next(self._numbers)
        with self._lock:
            self._under_way[number] = said
            lost = self._is_lost
        try:
            if not lost:
                self._channel.send(Propose(number, proposal))
        except OSError:
            lost = True
        if lost:
            self._lose()
        return said

    def _lose(self) -> None:
        self._on_lost()
        with self._lock:
            self._is_lost = True
            under_way, self._under_way = self._under_way, {}
        for number, said in under_way.items():
            said.set_result(GroupFailed(number, "outcome_unknown", ""))

    def _run_receive(self) -> None:
        try:
            while (message := self._channel.receive()) is not None:
                self._take(message)
        except BaseException:
            # A thread that has ended would leave clients without an answer forever.
            log.exception("this worker cannot continue")
        self._lose()

    def _take(self, message: ToWorker) -> None:
        match message:
            case GroupStored() | GroupFailed():
                with self._lock:
                    said = self._under_way.pop(message.number)
                said.set_result(message)
            case PublishDone():
                self._publishing.pop(message.number).set_result(message.published)
            case AdmissionState():
                self._on_state(message)
                self._say(StateSeen(message.version))
            case Measure():
                self._say(Measured(message.number, self._measure()))

    def _say(self, message: StateSeen | Measured | Noted) -> None:
        with contextlib.suppress(OSError):  # receiving ends then, too
            self._channel.send(message)


def proposal_of(group: Group) -> Proposal:
    """A decoded group, laid out as if none of its batches had been seen before."""
    codec = RowsFrameCodec()
    laid_out = [frame_of(rows, group.batches, codec) for rows in group.rows()]
    frames = [
        ProposedFrame(frame.rows.kind, frame.rows.owners, frame.rows.counts, b"".join(frame.payload))
        for frame in laid_out
    ]
    return Proposal(group.batches, frames)
