"""Writers that die, fail and sleep between any two steps: every row is in the files exactly once."""

import contextlib
import copy
import random
from collections.abc import Callable

import msgspec
import pytest

from app.kafka.entry import PublicationEntry
from app.kafka.partition_publisher import RecordsLost
from app.kafka.publication_log import PartitionLost, PublicationLogDamaged, log_directory
from app.kafka.published import PublishedPartitions
from tests.kafka.simulated_partition import Died, Interposed, Memory, Partition, commit

SEEDS = (1, 2)
RECORDS = 16


def published_by_one(seed: int) -> tuple[Partition, int]:
    """A partition before any writer, and the number of calls that one makes to publish it."""
    partition = Partition.of(seed, RECORDS)
    trial = copy.deepcopy(partition)
    place = Interposed(trial.memory)
    trial.run(place, random.Random(seed))
    assert trial.violations() == []
    assert place.calls > 20
    return partition, place.calls


def die() -> None:
    raise Died


def fail() -> None:
    raise OSError("no answer")


def at_every_call(seed: int, act_of: Callable[[Partition], Callable[[], None]]) -> None:
    """Something happens to a writer before or after each call; then another one finishes its work."""
    partition, calls = published_by_one(seed)
    for at in range(calls):
        for before in (True, False):
            world = copy.deepcopy(partition)
            place = Interposed(world.memory, at, before, act_of(world))
            with contextlib.suppress(Died, OSError):
                world.run(place, random.Random(seed))
            assert place.fired
            world.run(world.memory, random.Random(seed + 1))
            assert world.violations() == [], f"call {at}, {before=}"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_writer_may_die_anywhere(seed: int) -> None:
    at_every_call(seed, lambda world: die)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_call_may_fail_before_or_after_it_was_done(seed: int) -> None:
    at_every_call(seed, lambda world: fail)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_writer_may_sleep_anywhere_while_another_one_does_its_work(seed: int) -> None:
    def takes_over(world: Partition) -> Callable[[], None]:
        return lambda: world.run(world.memory, random.Random(seed + 7))

    at_every_call(seed, takes_over)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_writer_may_sleep_while_another_one_dies(seed: int) -> None:
    def takes_over_and_dies(world: Partition) -> Callable[[], None]:
        def act() -> None:
            other = Interposed(world.memory, 5 + seed * 3, True, die)
            with contextlib.suppress(Died):
                world.run(other, random.Random(seed + 7))

        return act

    at_every_call(seed, takes_over_and_dies)


def test_an_entry_that_was_compacted_away_is_not_published_again() -> None:
    partition = Partition.of(1, RECORDS)
    sleeper = partition.pipeline(partition.memory)
    sleeper.open(partition.read, 0, partition.high)
    sleeper.take(partition.records[0])
    other = partition.pipeline(partition.memory)
    other.open(partition.read, 0, partition.high)
    for record in partition.records:
        other.take(record)
        commit(other)
    assert f"{log_directory('topic', 3)}/{1:020}.json" not in partition.memory.files

    with pytest.raises(PartitionLost):
        sleeper.commit()

    assert partition.violations() == []
    partition.run(partition.memory, random.Random(1))
    assert partition.violations() == []


def test_records_that_expired_before_they_were_published_stop_the_writer() -> None:
    partition = Partition.of(2, RECORDS)
    low = partition.records[5].offset

    with pytest.raises(RecordsLost, match="have expired"):
        partition.pipeline(partition.memory).open(partition.read, low, partition.high)

    going_on = partition.pipeline(partition.memory)
    going_on.open(partition.read, low, partition.high, accept_loss=True)
    assert going_on.position == low
    assert going_on.state.last is not None
    assert going_on.state.last.lost == low


def test_a_topic_that_ends_before_what_was_published_stops_the_writer() -> None:
    partition = Partition.of(2, RECORDS)
    partition.run(partition.memory, random.Random(2))

    with pytest.raises(RecordsLost, match="was recreated"):
        partition.pipeline(partition.memory).open(partition.read, 0, 3)


def test_a_gap_in_the_log_stops_the_writer() -> None:
    partition = Partition.of(3, RECORDS)
    partition.run(partition.memory, random.Random(3))
    directory = log_directory("topic", 3)
    entries = [name for name in partition.memory.files if name.startswith(f"{directory}/0")]
    newest = max(entries)
    number = int(newest.removeprefix(f"{directory}/").removesuffix(".json"))
    content = partition.memory.files[newest]
    moved = msgspec.structs.replace(msgspec.json.decode(content, type=PublicationEntry), number=number + 2)
    partition.memory.files[f"{directory}/{number + 2:020}.json"] = msgspec.json.encode(moved)

    with pytest.raises(PublicationLogDamaged, match=f"entry {number + 1} is missing"):
        partition.pipeline(partition.memory).open(partition.read, 0, partition.high)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_listed_is_what_is_there(seed: int) -> None:
    """Followed while it grows, and read at once at the end."""
    partition = Partition.of(seed, 40)
    following = PublishedPartitions(partition.memory, "topic", 4)
    writer = partition.pipeline(partition.memory)
    writer.open(partition.read, 0, partition.high)
    for record in partition.records:
        writer.take(record)
        if record.offset % 3 == 0:
            commit(writer)
            following.to(3, stale_s=0)
    commit(writer)

    assert following.to(3, stale_s=0) == partition.high
    paths = {path for path in partition.memory.files if path.endswith(".parquet")}
    assert {file.path for file in following.files()} == paths
    assert {file.path for file in PublishedPartitions(partition.memory, "topic", 4).files()} == paths
    assert sum(file.rows for file in following.files()) == len(partition.expected)


def test_a_file_is_listed_when_it_is_in_its_place() -> None:
    partition = Partition.of(5, 3)
    late = Interposed(partition.memory)
    memory: Memory = partition.memory
    writer = partition.pipeline(late)
    writer.open(partition.read, 0, partition.high)
    for record in partition.records:
        writer.take(record)
    commit(writer)
    (path, *_) = [name for name in memory.files if name.endswith(".parquet")]
    content = memory.files.pop(path)
    published = PublishedPartitions(memory, "topic", 4)

    assert published.to(3, stale_s=0) == 0
    memory.files[path] = content
    assert published.to(3, stale_s=0) == partition.high
