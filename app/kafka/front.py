"""The front end: gather, decode, send, wait for the delivery reports, answer. It keeps nothing on a disk.

As in `commit.py`, two threads share the work, group by group in one order: one gathers and decodes, the other
compares batch ids, sends and answers. What differs is what a failure means: Kafka that does not answer is not
a disk that has failed. The outcome of the group is unknown then, and the next group is tried.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from app.commit.batch_ids import DeduplicationWindow
from app.commit.group_queue import Gatherer, GroupPolicy
from app.commit.handover import Handover
from app.commit.pipeline import Observer
from app.errors import OutcomeUnknown, Overloaded
from app.kafka.client import KafkaUnavailable
from app.kafka.producer import Sender
from app.kafka.record import RecordCodec
from app.kafka.record_layout import PartitionedGroup
from app.kafka.topic import Topic
from app.kinds import Kind
from app.submission import Answer, DecodePolicy, Reply, Submission

log = logging.getLogger(__name__)

Answers = Sequence[tuple[Reply, Answer]]
STRAGGLERS_S: Final = 1.0


class FrontEnd:
    """Owns both threads. `submit` is called on the event loop, and so are the replies.

    Durability contract: a reply is a Receipt only after the delivery report of every record of its group.
    on_outage: told of what kept a group from being replicated. on_fatal: told of defects.
    """

    def __init__(
        self,
        sender: Sender,
        topic: Topic,
        window: DeduplicationWindow,
        observer: Observer,
        decode_policy: DecodePolicy,
        group_policy: GroupPolicy,
        on_outage: Callable[[str], None],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._sender = sender
        self._topic = topic
        self._window = window
        self._observer = observer
        self._decode_policy = decode_policy
        self._on_outage = on_outage
        self._on_fatal = on_fatal
        self._records = RecordCodec()
        self._decoded: Handover[PartitionedGroup] = Handover()
        self._gatherer = Gatherer(group_policy, lambda: None, self._decoded.wait_until_idle)
        self._groups = 0
        self._closed = False
        self._threads: list[threading.Thread] = []
        self.accepted: Counter[tuple[int, Kind]] = Counter()
        self.window = window

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Replies are called on `loop`."""
        for name, run in (("send", self._run_send), ("decode", self._run_decode)):
            thread = threading.Thread(target=run, args=(loop,), name=name)
            self._threads.append(thread)
            thread.start()

    def submit(self, submission: Submission, reply: Reply) -> None:
        if self._closed:
            reply(_stopping())
        else:
            self._gatherer.put((submission, reply))

    def close(self) -> None:
        """Sends and answers what was submitted, then ends the threads. Blocks until then."""
        self._closed = True
        self._gatherer.close()
        for thread in self._threads:
            thread.join()

    def _run_decode(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            closed = False
            while not closed:
                pending, closed = self._gatherer.gather()
                if pending:
                    self._decode(self._new_group(pending), loop)
        except BaseException as error:
            self._failed(error)
            _answer(loop, [(reply, _stopping()) for _, reply in self._gatherer.rest(STRAGGLERS_S)])
        self._decoded.close()

    def _new_group(self, pending: list[tuple[Submission, Reply]]) -> PartitionedGroup:
        return PartitionedGroup(pending, self._topic.partition_of, self._topic.frame_bytes_max, self._records)

    def _decode(self, group: PartitionedGroup, loop: asyncio.AbstractEventLoop) -> None:
        try:
            group.decode(self._decode_policy)
            if self._decoded.give(group):
                return
        except BaseException:
            _answer_all(loop, group, _stopping())
            raise
        _answer_all(loop, group, _stopping())

    def _run_send(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while (group := self._decoded.take()) is not None:
                self._send(group, loop)
        except BaseException as error:
            self._failed(error)
            self._decoded.close()
            if (group := self._decoded.take()) is not None:
                _answer_all(loop, group, _stopping())

    def _send(self, group: PartitionedGroup, loop: asyncio.AbstractEventLoop) -> None:
        seconds = 0.0
        try:
            group.lay_out(self._window)
            if group.outgoing:
                began = time.monotonic()
                self._sender.send(group.outgoing)
                seconds = time.monotonic() - began
        except KafkaUnavailable as error:
            self._on_outage(str(error))
            _answer_all(loop, group, _unknown())
            return
        except BaseException:
            _answer_all(loop, group, _unknown())
            raise
        self._groups += 1
        for each in group.outgoing:
            self._window.remember(self._groups, each.receipts)
        self.accepted.update(group.counts.accepted)
        _answer(loop, list(zip(group.replies, group.answers, strict=True)))
        self._observer.group_committed(group.counts, seconds)

    def _failed(self, error: BaseException) -> None:
        self._closed = True
        log.critical("Nothing is accepted any more: %s", error)
        self._on_fatal(error)
        self._gatherer.close()


def _stopping() -> Overloaded:
    return Overloaded("The service is stopping; send the batch again.", retry_after_s=5)


def _unknown() -> OutcomeUnknown:
    return OutcomeUnknown(
        "Kafka did not confirm this batch: it may or may not be stored; send it again with the same "
        "Idempotency-Key."
    )


def _answer_all(loop: asyncio.AbstractEventLoop, group: PartitionedGroup, answer: Answer) -> None:
    _answer(loop, [(reply, answer) for reply in group.replies])


def _answer(loop: asyncio.AbstractEventLoop, answers: Answers) -> None:
    loop.call_soon_threadsafe(_deliver, answers)


def _deliver(answers: Answers) -> None:
    for reply, answer in answers:
        reply(answer)
