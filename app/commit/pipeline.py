"""Group commit: take what waits, decode, store, answer.

All batches that arrive while the previous group is being made durable form the next one. They are decoded
together, so that the fixed cost of the vectorised pass is paid once per group, made durable by one sync, and
answered with one wake-up of the event loop. A bad batch is refused by itself.

Two threads share the work. One takes groups and decodes them; the other lets the store judge batch ids and
make the group durable, and answers, group after group in the same order. So a large group is decoded while
the disk works on the last one. A store that takes several groups at once has a storing thread for each.
Batches of a workspace that are expensive to decode are decoded by a separate thread.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from app.commit.group import GroupCounts
from app.commit.group_queue import GroupPolicy, GroupQueue, NextGroup
from app.commit.single_slot import SingleSlot
from app.commit.store import NotStored, Store
from app.commit.to_loop import call_on

log = logging.getLogger(__name__)

STRAGGLERS_S: Final = 1.0
"""After a failure, batches are refused until none has arrived for this long."""

Item = TypeVar("Item")


class PipelineObserver(Protocol):
    """Called once per group, on the storing thread."""

    def group_committed(self, counts: GroupCounts, sync_seconds: float) -> None: ...


class AnyGroup(Protocol):
    """Batches that are committed together. replies: where their answers go, aligned with `answers`.

    size: bytes. postponed: batches that did not fit, known after `decode`; they have no replies here.
    """

    @property
    def replies(self) -> Sequence[Callable[[Any], None]]: ...
    @property
    def size(self) -> int: ...
    @property
    def postponed(self) -> Sequence[Any]: ...
    @property
    def counts(self) -> GroupCounts: ...
    def decode(self) -> None: ...
    def answers(self, sync_seconds: float) -> Sequence[Any]: ...
    def refused(self, why: NotStored) -> Sequence[Any]: ...


Grouped = TypeVar("Grouped", bound=AnyGroup)


class Pipeline(Generic[Item, Grouped]):
    """Owns the threads. `submit` is called on any thread; replies are called on the event loop.

    Durability contract: a reply is a Receipt only after `store` has returned for its group. When the store
    fails for good, the batches of the group are answered OutcomeUnknown, `on_fatal` is called, and no more
    batches are accepted.
    """

    def __init__(
        self,
        new_group: Callable[[list[tuple[Item, Callable[[Any], None]]]], Grouped],
        size_of: Callable[[Item], int],
        lane_of: Callable[[Item], int],
        store: Store[Grouped],
        policy: GroupPolicy,
        observer: PipelineObserver | None,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._new_group = new_group
        self._store = store
        self._observer = observer
        self._on_fatal = on_fatal
        self._decoded: SingleSlot[Grouped] = SingleSlot()
        self._queue: GroupQueue[Item] = GroupQueue(
            policy, size_of, lane_of, store.idle, self._decoded.wait_until_idle
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._expensive: queue.SimpleQueue[NextGroup[Item] | None] = queue.SimpleQueue()
        self._held_back_bytes = policy.small_bytes
        self._closed = False
        self._failed = False
        self._threads: list[threading.Thread] = []
        self._decoding_expensive = threading.Thread(
            target=self._run_decode_expensive, name="decode-expensive"
        )

    def start(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Replies are called on `loop`, or if there is none on the storing thread."""
        self._loop = loop
        storing = [("commit", self._run_store)] * self._store.stores_at_once
        for name, run in (*storing, ("decode", self._run_decode)):
            self._threads.append(threading.Thread(target=run, name=name))
        for thread in (*self._threads, self._decoding_expensive):
            thread.start()

    def submit(self, item: Item, reply: Callable[[Any], None]) -> None:
        """Takes a batch."""
        if self._closed:
            self._refuse(self._new_group([(item, reply)]), NotStored("stopping"))
        else:
            self._queue.put((item, reply))

    def close(self) -> None:
        """Stores and answers all submitted batches, then ends the threads. Blocks until then."""
        self._closed = True
        self._queue.close()
        for thread in self._threads:
            thread.join()

    def _fail(self, error: BaseException) -> None:
        self._closed = self._failed = True
        log.critical("no more batches are accepted: %s", error)
        self._on_fatal(error)
        self._queue.close()

    def _run_decode(self) -> None:
        try:
            last = False
            while not last:
                upcoming = self._queue.next_group()
                last = upcoming.last
                if upcoming.expensive is not None:
                    self._expensive.put(upcoming)
                elif upcoming.batches:
                    self._decode(upcoming)
        except BaseException as error:
            self._fail(error)
        self._expensive.put(None)
        self._decoding_expensive.join()
        self._decoded.close()
        if self._failed:
            # Those still in the queue were not written anywhere.
            rest = self._queue.rest(STRAGGLERS_S)
            if rest:
                self._refuse(self._new_group(rest), NotStored("stopping"))

    def _run_decode_expensive(self) -> None:
        try:
            while (upcoming := self._expensive.get()) is not None:
                self._decode(upcoming)
        except BaseException as error:
            self._fail(error)

    def _decode(self, upcoming: NextGroup[Item]) -> None:
        group = self._new_group(upcoming.batches)
        if group.size >= self._held_back_bytes:
            self._store.wait_for_room()
        began = time.perf_counter()
        postponed: Sequence[Any] = ()
        try:
            try:
                group.decode()
                postponed = group.postponed
            finally:
                self._queue.done(upcoming, time.perf_counter() - began, postponed)
            taken = self._decoded.give(group)
        except BaseException:
            self._refuse(group, NotStored("stopping"))
            raise
        if not taken:
            self._refuse(group, NotStored("stopping"))

    def _run_store(self) -> None:
        try:
            while (group := self._decoded.take()) is not None:
                self._make_durable(group)
        except BaseException as error:
            self._fail(error)
            self._decoded.close()
            if (group := self._decoded.take()) is not None:
                self._refuse(group, NotStored("stopping"))

    def _make_durable(self, group: Grouped) -> None:
        try:
            sync_seconds = self._store.store(group)
        except NotStored as why:
            self._refuse(group, why)
            return
        except BaseException:
            self._refuse(group, NotStored("outcome_unknown"))
            raise
        self._answer(group.replies, group.answers(sync_seconds))
        if self._observer is not None:
            self._observer.group_committed(group.counts, sync_seconds)

    def _refuse(self, group: Grouped, why: NotStored) -> None:
        self._answer(group.replies, group.refused(why))

    def _answer(self, replies: Sequence[Callable[[Any], None]], answers: Sequence[Any]) -> None:
        if self._loop is None:
            _deliver(replies, answers)
        else:
            call_on(self._loop, _deliver, replies, answers)


def _deliver(replies: Sequence[Callable[[Any], None]], answers: Sequence[Any]) -> None:
    for reply, answer in zip(replies, answers, strict=True):
        reply(answer)
