"""The thread of a partition goes on by itself after whatever passes, and skips nothing."""

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from app.kafka.client import KafkaUnavailable
from app.kafka.partition_thread import PartitionThread
from app.kafka.policy import KafkaPolicy
from app.kafka.record import Record
from app.publish.observer import SilentObserver
from tests.kafka.simulated_partition import Interposed, Partition

SECONDS_MAX = 30.0


class UnreliableReader:
    """As the client library: what came together with an error is passed by, whoever has seen it."""

    def __init__(self, partition: Partition, seed: int) -> None:
        self._partition = partition
        self._random = random.Random(seed)
        self._offset = 0
        self.high = 0
        self.errors = 0

    def watermarks(self) -> tuple[int, int]:
        self.high = self._partition.high
        return 0, self.high

    def seek(self, offset: int) -> None:
        self._offset = offset

    def read(self, timeout_s: float) -> list[Record]:
        records = list(self._partition.read(self._offset, self._partition.high))[:3]
        if records:
            self._offset = records[-1].offset + 1
        if self._random.random() < 0.3 and self.errors < 8:
            self.errors += 1
            raise KafkaUnavailable("a broker has gone")
        return records

    def read_range(self, start: int, to: int) -> Iterator[Record]:
        return self._partition.read(start, to)

    def close(self) -> None: ...


@pytest.mark.parametrize("seed", range(3))
def test_records_that_came_with_an_error_are_read_again(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.kafka.partition_thread.RETRY_S_MIN", 0.001)
    monkeypatch.setattr("app.kafka.partition_thread.RETRY_S_MAX", 0.001)
    partition = Partition.of(seed, 40)
    reader: Any = UnreliableReader(partition, seed)
    failures: list[BaseException] = []
    thread = PartitionThread(
        3,
        KafkaPolicy(brokers="", topic="topic"),
        lambda number: partition.pipeline(Interposed(partition.memory)),
        lambda: 20_000,
        SilentObserver(),
        lambda number, offset: None,
        failures.append,
        lambda policy, number: reader,
    )
    thread.start()
    thread.drain(time.monotonic() + SECONDS_MAX)

    assert thread.join(SECONDS_MAX)
    assert failures == []
    assert reader.errors > 0
    assert partition.violations() == []


def test_records_that_expire_while_a_writer_reads_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.kafka.partition_thread.RETRY_S_MIN", 0.001)
    partition = Partition.of(1, 40)

    class Expiring(UnreliableReader):
        """The first records are gone by the time they are asked for."""

        low = 0

        def watermarks(self) -> tuple[int, int]:
            super().watermarks()
            return self.low, self.high

        def read(self, timeout_s: float) -> list[Record]:
            self.low = 30
            raise KafkaUnavailable("offset out of range")

    reader: Any = Expiring(partition, 1)
    failures: list[BaseException] = []
    thread = PartitionThread(
        3,
        KafkaPolicy(brokers="", topic="topic"),
        lambda number: partition.pipeline(partition.memory),
        lambda: 20_000,
        SilentObserver(),
        lambda number, offset: None,
        failures.append,
        lambda policy, number: reader,
    )
    thread.start()

    deadline = time.monotonic() + SECONDS_MAX
    while "have expired" not in str(thread.problem) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "have expired" in str(thread.problem)
    thread.stop()
    assert thread.join(SECONDS_MAX)
    assert failures == [], "the other partitions of the process go on"
