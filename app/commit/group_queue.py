"""Which batches make the next group: those that wait, and a few moments' more where that pays."""

import contextlib
import queue
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

Item = TypeVar("Item")
Waiting = tuple[Item, Callable[[Any], None]]
"""A batch, and where its answer goes."""


class GroupPolicy(msgspec.Struct, frozen=True):
    """How much one group takes.

    max_bytes: bodies beyond the first. max_batches: batches.
    idle_mark_s: after that long without a batch, a mark frame vouches for the last group.
    small_bytes: a group with less is small. While the group before it is being made durable it waits for
        more, since what a group costs is then shared by more batches; a larger one is decoded meanwhile.
    linger_s: a small group with fewer batches than the last one waits so long for more, and again as long as
        more come, `lingers_max` times: clients that wait for their answers come back together.
    """

    max_bytes: int = 8 << 20
    max_batches: int = 4_096
    idle_mark_s: float = 0.5
    small_bytes: int = 256 << 10
    linger_s: float = 0.001
    lingers_max: int = 3


class GroupQueue(Generic[Item]):
    """The queue of batches and their replies: any thread puts, one gathers. Bounded by the bytes that
    admission lets in.

    size_of: bytes of a batch. on_idle is called once after idle_mark_s without a batch. wait_for_turn returns
    when no group is being made durable.
    """

    def __init__(
        self,
        policy: GroupPolicy,
        size_of: Callable[[Item], int],
        on_idle: Callable[[], None],
        wait_for_turn: Callable[[], None],
    ) -> None:
        self._size_of = size_of
        self._policy = policy
        self._on_idle = on_idle
        self._wait_for_turn = wait_for_turn
        self._queue: queue.SimpleQueue[Waiting[Item] | None] = queue.SimpleQueue()
        self._last_batches = 1
        self._pending: list[Waiting[Item]] = []
        self._bytes = 0
        self._closed = False

    def put(self, waiting: Waiting[Item]) -> None:
        self._queue.put(waiting)

    def close(self) -> None:
        """What was put before is still gathered."""
        self._queue.put(None)

    def gather(self) -> tuple[list[Waiting[Item]], bool]:
        """Waits for a batch, then takes all that wait, up to the policy; and whether no more will come."""
        self._pending, self._bytes = [], 0
        try:
            self._take(self._queue.get(timeout=self._policy.idle_mark_s))
        except queue.Empty:
            self._on_idle()
            self._take(self._queue.get())
        if self._may_grow():
            self._wait_for_turn()
            self._take_waiting()
        for _ in range(self._policy.lingers_max):
            before = len(self._pending)
            if before >= self._last_batches or not self._may_grow():
                break
            time.sleep(self._policy.linger_s)
            self._take_waiting()
            if len(self._pending) == before:
                break
        self._last_batches = len(self._pending)
        return self._pending, self._closed

    def rest(self, wait_s: float) -> list[Waiting[Item]]:
        """What is still in the queue, and what comes until nothing has for wait_s."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                entry = self._queue.get(timeout=wait_s)
                if entry is not None:
                    found.append(entry)
        return found

    def _may_grow(self) -> bool:
        return (
            not self._closed
            and self._bytes < self._policy.small_bytes
            and len(self._pending) < self._policy.max_batches
        )

    def _take_waiting(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._take(self._queue.get_nowait())

    def _take(self, entry: Waiting[Item] | None) -> None:
        """Adds this entry and those behind it."""
        while entry is not None:
            self._pending.append(entry)
            self._bytes += self._size_of(entry[0])
            if self._bytes >= self._policy.max_bytes or len(self._pending) >= self._policy.max_batches:
                return
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return
        self._closed = True
