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
    put(queue, batches)
    return queue


def known(policy: GroupPolicy, *workspaces: int) -> GroupQueue[Batch]:
    """A queue that has met these workspaces, and found them cheap."""
    queue = queue_of([Batch(each, 0, 1) for each in workspaces], policy)
    queue.done(queue.next_group())
    return queue


def put(queue: GroupQueue[Batch], batches: list[Batch]) -> None:
    for batch in batches:
        queue.put((batch, lambda answer: None))


def everything(queue: GroupQueue[Batch]) -> list[Batch]:
    """What a closed queue still gives, each group decoded at once."""
    got: list[Batch] = []
    last = False
    while not last:
        group = queue.next_group()
        last = group.last
        got += [batch for batch, _ in group.batches]
        if group.batches:
            queue.done(group)
    return got


def taken(queue: GroupQueue[Batch]) -> list[Batch]:
    return [batch for batch, _ in queue.next_group().batches]


POLICY = GroupPolicy(max_bytes=1000 * KB, turn_bytes=200 * KB, small_bytes=0)


def test_a_neighbour_is_in_the_next_group_however_much_waits_before_it() -> None:
    flood = [Batch(1, number, 100 * KB) for number in range(500)]
    queue = known(POLICY, 1)
    put(queue, [*flood, Batch(2, 0, 1 * KB)])
    first = taken(queue)
    assert Batch(2, 0, 1 * KB) in first
    assert sum(batch.size for batch in first) <= 1100 * KB


def test_who_is_alone_has_the_whole_group() -> None:
    queue = known(POLICY, 1)
    put(queue, [Batch(1, number, 100 * KB) for number in range(50)])
    assert len(taken(queue)) == 10


def test_who_is_met_for_the_first_time_has_one_turn() -> None:
    queue = queue_of([Batch(1, number, 100 * KB) for number in range(50)], POLICY)
    first = queue.next_group()
    assert len(first.batches) == 2
    queue.done(first, seconds=0.001)
    assert len(taken(queue)) == 10


def test_who_is_dear_has_groups_of_its_own_and_the_others_go_on_meanwhile() -> None:
    queue = known(POLICY, 1, 2)
    put(queue, [*(Batch(1, number, 100 * KB) for number in range(2)), Batch(2, 0, KB)])
    mixed = queue.next_group()
    assert {batch.workspace for batch, _ in mixed.batches} == {1, 2}
    queue.done(mixed, seconds=1.0)

    put(queue, [*(Batch(1, number, 100 * KB) for number in range(4)), Batch(2, 1, KB)])
    for _ in range(2):
        alone = queue.next_group()
        (workspace,) = {batch.workspace for batch, _ in alone.batches}
        queue.done(alone, seconds=1.0 if workspace == 1 else 0.001)

    put(queue, [Batch(1, number, 100 * KB) for number in range(10, 20)])
    put(queue, [Batch(2, number, KB) for number in range(6, 9)])
    turns = [queue.next_group() for _ in range(2)]
    assert sorted(each.expensive or 0 for each in turns) == [0, 1]
    assert [len(each.batches) for each in turns if each.expensive] == [1], "it would take a slice by itself"
    put(queue, [Batch(2, 9, KB)])
    assert taken(queue) == [Batch(2, 9, KB)], "while the expensive one is decoded, nobody waits for it"


def test_who_is_dear_no_more_is_like_the_others_again() -> None:
    queue = queue_of([Batch(1, 0, 100 * KB)], POLICY)
    queue.done(queue.next_group(), seconds=0.2)
    for number in range(20):
        put(queue, [Batch(1, number, 100 * KB)])
        group = queue.next_group()
        queue.done(group, seconds=0.001)
    assert group.expensive is None


def test_what_is_put_back_comes_first() -> None:
    queue = known(POLICY, 1)
    put(queue, [Batch(1, number, 100 * KB) for number in range(30)])
    group = queue.next_group()
    queue.done(group, postponed=group.batches[5:])
    assert [batch.number for batch in taken(queue)] == list(range(5, 15))


def test_a_closed_queue_still_gives_all_that_waits() -> None:
    queue = queue_of([Batch(1, number, 400 * KB) for number in range(7)], POLICY)
    queue.close()
    assert [batch.number for batch in everything(queue)] == list(range(7))


def test_the_last_group_is_not_said_to_be_the_last_while_a_dear_one_may_come_back() -> None:
    queue = queue_of([Batch(1, 0, 100 * KB)], POLICY)
    queue.done(queue.next_group(), seconds=1.0)
    put(queue, [Batch(1, 1, 100 * KB)])
    expensive = queue.next_group()
    assert (expensive.expensive, expensive.last) == (1, False)
    queue.close()
    queue.done(expensive, 1.0, postponed=expensive.batches)
    assert [batch.number for batch in everything(queue)] == [1]


@given(
    batches=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 400 * KB)), max_size=60),
    turn=st.integers(1, 300 * KB),
    batches_max=st.integers(1, 20),
)
def test_each_batch_comes_once_and_those_of_a_workspace_in_order(
    batches: list[tuple[int, int]], turn: int, batches_max: int
) -> None:
    sent = [Batch(workspace, number, size) for number, (workspace, size) in enumerate(batches)]
    policy = GroupPolicy(max_bytes=1000 * KB, turn_bytes=turn, max_batches=batches_max, small_bytes=0)
    queue = queue_of(sent, policy)
    queue.close()
    got = everything(queue)
    assert sorted(got) == sorted(sent)
    for workspace in range(1, 6):
        own = [batch.number for batch in got if batch.workspace == workspace]
        assert own == sorted(own)
