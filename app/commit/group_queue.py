"""Chooses the batches of the next group: those that wait, in turns, and some that arrive shortly after if
that pays."""

import contextlib
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

Item = TypeVar("Item")
Waiting = tuple[Item, Callable[[Any], None]]
"""A batch, and the function that receives its answer."""

EXPENSIVE_SECONDS_A_BYTE: Final = 2e-7
"""A group of several lanes that takes longer contains an expensive one: ordinary rows take a third of this at
most."""

LANES_KNOWN_MAX: Final = 10_000
"""Lanes that are remembered as not expensive; further ones are measured anew."""

FORGETS: Final = 0.9
"""The factor by which a lane's cost per byte decays after a group that cost less."""


class GroupPolicy(msgspec.Struct, frozen=True):
    """Limits of one group.

    max_bytes: bodies beyond the first. max_batches: batches.
    turn_bytes: of one lane (a workspace) beyond its first batch, before the others get their turn.
    slice_s: how long decoding a group should take at most. A lane whose bodies take longer gets groups of its
        own, which are decoded separately.
    idle_mark_s: after this time without a batch, a mark frame confirms that the last group is durable.
    small_bytes: a group with less is small. While the previous group is being made durable it waits for more
        batches, which then share the group's fixed cost; a larger one is decoded meanwhile.
    linger_s: a small group with fewer batches than the last one waits this long for more, and again while
        more arrive, up to `lingers_max` times: clients that wait for their answers return together.
    """

    max_bytes: int = 8_000_000
    max_batches: int = 4_096
    turn_bytes: int = 256 << 10
    slice_s: float = 0.1
    idle_mark_s: float = 0.5
    small_bytes: int = 256 << 10
    linger_s: float = 0.001
    lingers_max: int = 3


class NextGroup(msgspec.Struct, Generic[Item]):
    """batches: of the next group. expensive: the lane of all its batches, if they are expensive to decode.

    last: whether it is the last group. tells: whether its decoding time shows the cost of a lane.
    """

    batches: list[Any]
    expensive: int | None
    last: bool
    tells: bool


class _Done(msgspec.Struct):
    """The outcome of a group that was taken."""

    batches: Sequence[Any]
    expensive: int | None
    seconds: float
    postponed: Sequence[Any]


class GroupQueue(Generic[Item]):
    """The queue of batches and their replies: any thread puts, one takes groups. Bounded by the bytes that
    admission lets in.

    Lanes take turns, so that a burst of one workspace does not delay the others; and while an expensive group
    of one is decoded, the others continue. size_of: bytes of a batch. lane_of: the lane of a batch. on_idle
    is called once after idle_mark_s without a batch. wait_for_turn returns when no group is being made
    durable.
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
        self._queue: queue.SimpleQueue[Waiting[Item] | _Done | None] = queue.SimpleQueue()
        self._lanes: dict[int, deque[Waiting[Item]]] = {}
        self._seconds_a_byte: dict[int, float] = {}
        self._suspects: set[int] = set()
        self._known: set[int] = set()
        self._tells = False
        self._expensive: int | None = None
        self._waiting = 0
        self._waiting_bytes = 0
        self._last_batches = 1
        self._closed = False

    def put(self, waiting: Waiting[Item]) -> None:
        self._queue.put(waiting)

    def close(self) -> None:
        """Closes the queue; batches put before are still taken."""
        self._queue.put(None)

    def next_group(self) -> NextGroup[Item]:
        """Waits for a batch, then takes the waiting ones, within the policy."""
        batches: list[Waiting[Item]] = []
        expensive = None
        while not batches:
            if not self._waiting and not self._closed:
                try:
                    self._line_up(self._queue.get(timeout=self._policy.idle_mark_s))
                except queue.Empty:
                    self._on_idle()
                    self._line_up(self._queue.get())
            self._take_waiting()
            self._grow()
            batches, expensive = self._by_turns()
            if self._closed and not self._waiting and self._expensive is None:
                break
            if not batches and (self._waiting or self._closed):
                # What waits is expensive, and so is what is being decoded.
                self._line_up(self._queue.get())
        self._last_batches = len(batches)
        self._expensive = expensive if expensive is not None else self._expensive
        last = self._closed and not self._waiting and self._expensive is None
        return NextGroup(batches, expensive, last, self._tells)

    def done(
        self, upcoming: NextGroup[Item], seconds: float = 0.0, postponed: Sequence[Waiting[Item]] = ()
    ) -> None:
        """Notes the decoding time of a group. Any thread. postponed: batches that did not fit; they come
        first in the next group."""
        if upcoming.tells or postponed or seconds > self._policy.slice_s:
            self._queue.put(_Done(upcoming.batches, upcoming.expensive, seconds, postponed))

    def rest(self, wait_s: float) -> list[Waiting[Item]]:
        """The batches still in the queue, and those that arrive until none has for wait_s."""
        found = [waiting for lane in self._lanes.values() for waiting in lane]
        self._lanes, self._waiting, self._waiting_bytes = {}, 0, 0
        with contextlib.suppress(queue.Empty):
            while True:
                entry = self._queue.get(timeout=wait_s)
                if entry is not None and not isinstance(entry, _Done):
                    found.append(entry)
        return found

    def _grow(self) -> None:
        """Waits for more if the group is small."""
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

    def _may_grow(self) -> bool:
        return (
            not self._closed
            and 0 < self._waiting < self._policy.max_batches
            and self._waiting_bytes < self._policy.small_bytes
        )

    def _take_waiting(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._line_up(self._queue.get_nowait())

    def _line_up(self, entry: Waiting[Item] | _Done | None) -> None:
        if entry is None:
            self._closed = True
        elif isinstance(entry, _Done):
            self._conclude(entry)
        else:
            self._lane(entry).append(entry)
            self._waiting += 1
            self._waiting_bytes += self._size_of(entry[0])

    def _conclude(self, done: _Done) -> None:
        if done.expensive is not None:
            self._expensive = None
        for waiting in reversed(done.postponed):
            self._lane(waiting).appendleft(waiting)
            self._waiting += 1
            self._waiting_bytes += self._size_of(waiting[0])
        lanes = {self._lane_of(item) for item, _ in done.batches}
        took_long = done.seconds > self._policy.slice_s
        if len(lanes) > 1:
            # Which of them it was shows when each has a group of its own.
            size = sum(self._size_of(item) for item, _ in done.batches)
            if took_long and done.seconds > size * EXPENSIVE_SECONDS_A_BYTE:
                self._suspects |= lanes
            else:
                self._know(lanes)
            return
        for lane in lanes:
            self._suspects.discard(lane)
            size = sum(self._size_of(item) for item, _ in done.batches)
            cost = max(done.seconds / max(size, 1), self._seconds_a_byte.pop(lane, 0.0) * FORGETS)
            if took_long or cost * size > self._policy.slice_s:
                self._seconds_a_byte[lane] = cost
        self._know(lanes)

    def _know(self, lanes: set[int]) -> None:
        if len(self._known) > LANES_KNOWN_MAX:
            self._known.clear()
        self._known |= lanes

    def _lane(self, waiting: Waiting[Item]) -> deque[Waiting[Item]]:
        lane_of = self._lane_of(waiting[0])
        lane = self._lanes.get(lane_of)
        if lane is None:
            lane = self._lanes[lane_of] = deque()
        return lane

    def _by_turns(self) -> tuple[list[Waiting[Item]], int | None]:
        """The next group, and its lane if it is an expensive one. Lanes that had a turn come last in the next
        round, those passed over come first; empty lanes are forgotten."""
        group: list[Waiting[Item]] = []
        size = 0
        passed: dict[int, deque[Waiting[Item]]] = {}
        served: dict[int, deque[Waiting[Item]]] = {}
        expensive = None
        self._tells = False
        while self._has_room(group, size) and (self._lanes or served):
            if not self._lanes:
                self._lanes, served = served, {}
            number, lane = next(iter(self._lanes.items()))
            del self._lanes[number]
            is_expensive, alone = self._is_expensive(number, lane), number in self._suspects
            if (is_expensive and self._expensive is not None) or ((is_expensive or alone) and group):
                passed[number] = lane
                continue
            size += self._turn(group, lane, size, limit=self._limit_of(number) if is_expensive else None)
            self._tells |= (
                is_expensive or alone or number not in self._known or number in self._seconds_a_byte
            )
            if lane:
                # One turn of an unknown lane: its bodies may be expensive.
                (served if number in self._known else passed)[number] = lane
            if is_expensive or alone:
                expensive = number if is_expensive else None
                break
        self._lanes = {**passed, **self._lanes, **served}
        self._waiting -= len(group)
        self._waiting_bytes -= size
        return group, expensive

    def _turn(
        self, group: list[Waiting[Item]], lane: deque[Waiting[Item]], size: int, limit: int | None
    ) -> int:
        """Moves the lane's next batches into the group; how many bytes."""
        turn, limit = 0, self._policy.turn_bytes if limit is None else limit
        while lane and turn < limit and self._has_room(group, size + turn):
            waiting = lane.popleft()
            group.append(waiting)
            turn += self._size_of(waiting[0])
        return turn

    def _has_room(self, group: list[Waiting[Item]], size: int) -> bool:
        return size < self._policy.max_bytes and len(group) < self._policy.max_batches

    def _is_expensive(self, number: int, lane: deque[Waiting[Item]]) -> bool:
        """Whether the lane's next batch is expected to take a whole slice by itself."""
        cost = self._seconds_a_byte.get(number)
        return cost is not None and cost * self._size_of(lane[0][0]) > self._policy.slice_s

    def _limit_of(self, number: int) -> int:
        return int(self._policy.slice_s / self._seconds_a_byte[number])
