"""Which batches make a group: turns of workspaces, limits, and what was put back."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from app.commit.group_queue import GroupPolicy, GroupQueue

KB = 1000


class Batch(NamedTuple):
    workspace: int
    number: int
    size: int


def queue_of(batches: list[Batch], policy: GroupPolicy) -> GroupQueue[Batch]:
    queue: GroupQueue[Batch] = GroupQueue(
        policy, lambda each: each.size, lambda each: each.workspace, lambda: None, lambda: None
    )
    for batch in batches:
        queue.put((batch, lambda answer: None))
    return queue


def gathered(queue: GroupQueue[Batch]) -> list[Batch]:
    pending, _ = queue.gather()
    return [batch for batch, _ in pending]


POLICY = GroupPolicy(max_bytes=1000 * KB, turn_bytes=200 * KB, small_bytes=0)


def test_a_neighbour_is_in_the_next_group_however_much_waits_before_it() -> None:
    flood = [Batch(1, number, 100 * KB) for number in range(500)]
    queue = queue_of([*flood, Batch(2, 0, 1 * KB)], POLICY)
    first = gathered(queue)
    assert Batch(2, 0, 1 * KB) in first
    assert sum(batch.size for batch in first) <= 1100 * KB


def test_who_is_alone_has_the_whole_group() -> None:
    queue = queue_of([Batch(1, number, 100 * KB) for number in range(50)], POLICY)
    assert len(gathered(queue)) == 10


def test_batches_that_are_dear_make_smaller_groups_until_they_are_not() -> None:
    queue = queue_of([Batch(1, number, 100 * KB) for number in range(100)], POLICY)
    gathered(queue)
    queue.note(1000 * KB, seconds=1.0)
    assert len(gathered(queue)) == 1
    queue.note(100 * KB, seconds=0.001)
    assert len(gathered(queue)) == 10


def test_what_is_put_back_comes_first() -> None:
    queue = queue_of([Batch(1, number, 100 * KB) for number in range(30)], POLICY)
    pending, _ = queue.gather()
    queue.put_back(pending[5:])
    assert [batch.number for batch in gathered(queue)] == list(range(5, 15))


def test_a_closed_queue_still_gives_all_that_waits() -> None:
    queue = queue_of([Batch(1, number, 400 * KB) for number in range(7)], POLICY)
    queue.close()
    numbers: list[int] = []
    closed = False
    while not closed:
        pending, closed = queue.gather()
        numbers += [batch.number for batch, _ in pending]
    assert numbers == list(range(7))


@given(
    batches=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 400 * KB)), max_size=60),
    turn=st.integers(1, 300 * KB),
    batches_max=st.integers(1, 20),
)
def test_each_batch_comes_once_and_those_of_a_workspace_in_order(
    batches: list[tuple[int, int]], turn: int, batches_max: int
) -> None:
    put = [Batch(workspace, number, size) for number, (workspace, size) in enumerate(batches)]
    policy = GroupPolicy(max_bytes=1000 * KB, turn_bytes=turn, max_batches=batches_max, small_bytes=0)
    queue = queue_of(put, policy)
    queue.close()
    got: list[Batch] = []
    closed = not put
    while not closed:
        pending, closed = queue.gather()
        assert len(pending) <= batches_max
        got += [batch for batch, _ in pending]
    assert sorted(got) == sorted(put)
    for workspace in range(1, 6):
        own = [batch.number for batch in got if batch.workspace == workspace]
        assert own == sorted(own)
