"""Which batches make the next group: those that wait, and a few moments' more where that pays."""

import contextlib
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

Item = TypeVar("Item")
Waiting = tuple[Item, Callable[[Any], None]]
"""A batch, and where its answer goes."""


class GroupPolicy(msgspec.Struct, frozen=True):
    """How much one group takes.

    max_bytes: bodies beyond the first. max_batches: batches.
    turn_bytes: of one lane (a workspace) beyond its first batch, before the others have had their turn.
    slice_s: how long decoding a group should take at most. Bodies that take longer a byte make smaller
        groups, so that nobody waits longer behind them; not below small_bytes.
    idle_mark_s: after that long without a batch, a mark frame vouches for the last group.
    small_bytes: a group with less is small. While the group before it is being made durable it waits for
        more, since what a group costs is then shared by more batches; a larger one is decoded meanwhile.
    linger_s: a small group with fewer batches than the last one waits so long for more, and again as long as
        more come, `lingers_max` times: clients that wait for their answers come back together.
    """

    max_bytes: int = 8 << 20
    max_batches: int = 4_096
    turn_bytes: int = 256 << 10
    slice_s: float = 0.1
    idle_mark_s: float = 0.5
    small_bytes: int = 256 << 10
    linger_s: float = 0.001
    lingers_max: int = 3


class GroupQueue(Generic[Item]):
    """The queue of batches and their replies: any thread puts, one gathers. Bounded by the bytes that
    admission lets in.

    Lanes take turns, so that what one workspace sends at once does not stand before what others send.
    size_of: bytes of a batch. lane_of: whose turn it is in. on_idle is called once after idle_mark_s without
    a batch. wait_for_turn returns when no group is being made durable.
    """

    def __init__(
        self,
        policy: GroupPolicy,
        size_of: Callable[[Item], int],
        lane_of: Callable[[Item], int],
        on_idle: Callable[[], None],
        wait_for_turn: Callable[[], None],
    ) -> None:
        self._size_of = size_of
        self._lane_of = lane_of
        self._policy = policy
        self._on_idle = on_idle
        self._wait_for_turn = wait_for_turn
        self._queue: queue.SimpleQueue[Waiting[Item] | None] = queue.SimpleQueue()
        self._lanes: dict[int, deque[Waiting[Item]]] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._last_batches = 1
        self._bytes_max = policy.max_bytes
        self._closed = False

    def put(self, waiting: Waiting[Item]) -> None:
        self._queue.put(waiting)

    def close(self) -> None:
        """What was put before is still gathered."""
        self._queue.put(None)

    def gather(self) -> tuple[list[Waiting[Item]], bool]:
        """Waits for a batch, then takes what waits, up to the policy; and whether no more will come."""
        if not self._waiting and not self._closed:
            try:
                self._line_up(self._queue.get(timeout=self._policy.idle_mark_s))
            except queue.Empty:
                self._on_idle()
                self._line_up(self._queue.get())
        self._take_waiting()
        if self._may_grow():
            self._wait_for_turn()
            self._take_waiting()
        for _ in range(self._policy.lingers_max):
            before = self._waiting
            if before >= self._last_batches or not self._may_grow():
                break
            time.sleep(self._policy.linger_s)
            self._take_waiting()
            if self._waiting == before:
                break
        pending = self._by_turns()
        self._last_batches = len(pending)
        return pending, self._closed and not self._waiting

    def put_back(self, postponed: Sequence[Waiting[Item]]) -> None:
        """These had no room in their group; they come first in the next one. For the thread that gathers."""
        for waiting in reversed(postponed):
            self._lane(waiting).appendleft(waiting)
            self._waiting += 1
            self._waiting_bytes += self._size_of(waiting[0])

    def note(self, size: int, seconds: float) -> None:
        """How long a gathered group of so many bytes took to decode. For the thread that gathers."""
        policy = self._policy
        in_time = int(size * policy.slice_s / max(seconds, 1e-6))
        self._bytes_max = min(max(in_time, policy.small_bytes), policy.max_bytes)

    def rest(self, wait_s: float) -> list[Waiting[Item]]:
        """What is still in the queue, and what comes until nothing has for wait_s."""
        found = [waiting for lane in self._lanes.values() for waiting in lane]
        self._lanes, self._waiting, self._waiting_bytes = {}, 0, 0
        with contextlib.suppress(queue.Empty):
            while True:
                entry = self._queue.get(timeout=wait_s)
                if entry is not None:
                    found.append(entry)
        return found

    def _may_grow(self) -> bool:
        return (
            not self._closed
            and self._waiting_bytes < self._policy.small_bytes
            and self._waiting < self._policy.max_batches
        )

    def _take_waiting(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._line_up(self._queue.get_nowait())

    def _line_up(self, waiting: Waiting[Item] | None) -> None:
        if waiting is None:
            self._closed = True
            return
        self._lane(waiting).append(waiting)
        self._waiting += 1
        self._waiting_bytes += self._size_of(waiting[0])

    def _lane(self, waiting: Waiting[Item]) -> deque[Waiting[Item]]:
        lane_of = self._lane_of(waiting[0])
        lane = self._lanes.get(lane_of)
        if lane is None:
            lane = self._lanes[lane_of] = deque()
        return lane

    def _by_turns(self) -> list[Waiting[Item]]:
        """The next group. Who had a turn is last in the next round; an empty lane is forgotten."""
        policy = self._policy
        pending: list[Waiting[Item]] = []
        size = 0
        while self._lanes and size < self._bytes_max and len(pending) < policy.max_batches:
            number, lane = next(iter(self._lanes.items()))
            del self._lanes[number]
            turn = 0
            while (
                lane
                and turn < policy.turn_bytes
                and size < self._bytes_max
                and len(pending) < policy.max_batches
            ):
                waiting = lane.popleft()
                pending.append(waiting)
                taken = self._size_of(waiting[0])
                turn += taken
                size += taken
            if lane:
                self._lanes[number] = lane
        self._waiting -= len(pending)
        self._waiting_bytes -= size
        return pending
