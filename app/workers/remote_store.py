"""A worker's part of group commit: gather, decode, propose; and the answers once the group is durable.

Two threads: one gathers, decodes and sends, the other receives. What the owner of the journal says besides
goes to `Owner`.
"""

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Final

from app.commit.group import Group
from app.commit.group_queue import Gatherer, GroupPolicy
from app.commit.payload import RowsFrameCodec
from app.commit.pipeline import Observer
from app.commit.settle import Outcome
from app.errors import DiskFull, OutcomeUnknown, Overloaded, RequestError
from app.submission import Answer, DecodePolicy, Pending, Reply, Submission
from app.workers.messages import (
    Channel,
    Failed,
    Family,
    Measure,
    Measured,
    Propose,
    Publish,
    Published,
    Seen,
    Settled,
    State,
    ToWorker,
)
from app.workers.proposed_group import ProposedGroup

log = logging.getLogger(__name__)

GROUPS_MAX: Final = 2
"""Groups that are under way at a time: one is made durable while the next is decoded and sent."""


class RemoteCommitter:
    """Owns both threads. `submit` and `publish` are called on the event loop, and so are the replies.

    A reply is a Receipt only after the owner of the journal has said that the group is durable.
    on_state: told what admission goes by, on the receiving thread. measure: what was counted so far.
    on_lost: the owner is gone: nothing that is under way can be answered truthfully any more.
    """

    def __init__(
        self,
        channel: Channel,
        observer: Observer,
        decode_policy: DecodePolicy,
        group_policy: GroupPolicy,
        on_state: Callable[[State], None],
        measure: Callable[[], Sequence[Family]],
        on_lost: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._observer = observer
        self._decode_policy = decode_policy
        self._on_state = on_state
        self._measure = measure
        self._on_lost = on_lost
        self._codec = RowsFrameCodec()
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._under_way: dict[int, ProposedGroup] = {}
        self._publishing: dict[int, Future[bool]] = {}
        self._gatherer = Gatherer(group_policy, lambda: None, lambda: self._wait_for_room(1))
        self._loop: asyncio.AbstractEventLoop
        self._closed = False
        self._decoding = threading.Thread(target=self._run_decode, name="decode")
        self._receiving = threading.Thread(target=self._run_receive, name="answers", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Replies are called on `loop`."""
        self._loop = loop
        self._decoding.start()
        self._receiving.start()

    def submit(self, submission: Submission, reply: Reply) -> None:
        if self._closed:
            reply(_stopping())
        else:
            self._gatherer.put((submission, reply))

    async def publish(self, workspace_id: int) -> bool:
        """Publishes what this workspace has had accepted; whether that succeeded."""
        done: Future[bool] = Future()
        number = next(self._numbers)
        self._publishing[number] = done
        await asyncio.to_thread(self._channel.send, Publish(number, workspace_id))
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        """Answers what was submitted, then ends the deciding thread. Blocks until then."""
        self._closed = True
        self._gatherer.close()
        self._decoding.join()
        self._wait_for_room(1)

    def _wait_for_room(self, most: int) -> None:
        """Until fewer than so many groups are under way."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._under_way) < most)

    def _run_decode(self) -> None:
        with self._lost_by_a_defect():
            closed = False
            while not closed:
                pending, closed = self._gatherer.gather()
                if pending:
                    self._propose(pending)

    @contextlib.contextmanager
    def _lost_by_a_defect(self) -> Iterator[None]:
        """A thread that has ended would leave clients without an answer for ever."""
        try:
            yield
        except BaseException:
            log.exception("this worker cannot go on")
            self._on_lost()

    def _propose(self, pending: list[Pending]) -> None:
        group = Group(pending)
        group.decode(self._decode_policy)
        proposed = ProposedGroup(group, self._codec)
        if not proposed.proposal.frames:
            self._conclude(proposed, [Outcome()] * len(pending), 0.0)
            return
        self._wait_for_room(GROUPS_MAX)
        number = next(self._numbers)
        with self._changed:
            self._under_way[number] = proposed
        try:
            self._channel.send(Propose(number, proposed.proposal))
        except OSError:
            self._on_lost()

    def _run_receive(self) -> None:
        with self._lost_by_a_defect():
            while (message := self._channel.receive()) is not None:
                self._take(message)
        self._on_lost()

    def _take(self, message: ToWorker) -> None:
        match message:
            case Settled():
                self._conclude(self._taken(message.number), message.outcomes, message.sync_seconds)
            case Failed():
                self._refuse(self._taken(message.number), _error(message))
            case Published():
                self._publishing.pop(message.number).set_result(message.published)
            case State():
                self._on_state(message)
                self._say(Seen(message.version))
            case Measure():
                self._say(Measured(message.number, self._measure()))

    def _taken(self, number: int) -> ProposedGroup:
        with self._changed:
            proposed = self._under_way.pop(number)
            self._changed.notify_all()
        return proposed

    def _conclude(self, proposed: ProposedGroup, outcomes: Sequence[Outcome], sync_seconds: float) -> None:
        answers = proposed.answers(outcomes)
        self._answer(list(zip(proposed.group.replies, answers, strict=True)))
        self._observer.group_committed(proposed.group.counts, sync_seconds)

    def _refuse(self, proposed: ProposedGroup, error: RequestError) -> None:
        self._answer([(reply, error) for reply in proposed.group.replies])

    def _answer(self, answers: list[tuple[Reply, Answer]]) -> None:
        self._loop.call_soon_threadsafe(_deliver, answers)

    def _say(self, message: Seen | Measured) -> None:
        try:
            self._channel.send(message)
        except OSError:
            self._on_lost()


def _deliver(answers: list[tuple[Reply, Answer]]) -> None:
    for reply, answer in answers:
        reply(answer)


def _error(failed: Failed) -> RequestError:
    if failed.kind == "full":
        return DiskFull(failed.message, retry_after_s=30)
    if failed.kind == "overloaded":
        return Overloaded(failed.message, retry_after_s=2, code="buffer_full")
    if failed.kind == "stopping":
        return _stopping()
    return OutcomeUnknown(failed.message)


def _stopping() -> Overloaded:
    return Overloaded("The service is stopping; send the batch again.", retry_after_s=5)
