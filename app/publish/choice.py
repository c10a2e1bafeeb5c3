"""Chooses which of the waiting partitions are published now."""

from collections.abc import Callable, Sequence
from typing import Final

from app.parquet.partition import Partition
from app.publish.buffer import PartitionRows
from app.publish.intake import FlushCommand
from app.publish.rotation import WriterPolicy, due, relieve_journal, relieve_memory
from app.publish.set_aside import SetAside

HASTENED_PARTITIONS_MAX: Final = 10_000
"""Partitions for which the time of their file's last copy is remembered."""


NEVER: Final = -1
"""The retry time of a partition that has not failed: before all others."""


class Choice:
    """For the writer thread alone. clock: ms since the epoch; timer: ms on a clock that is never set.

    journal_bytes: the present size of the journal. set_aside: partitions that failed by themselves.
    """

    def __init__(
        self,
        policy: WriterPolicy,
        clock: Callable[[], int],
        timer: Callable[[], int],
        journal_bytes: Callable[[], int],
        set_aside: SetAside,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._timer = timer
        self._journal_bytes = journal_bytes
        self._set_aside = set_aside
        self._relieved_ms: int | None = None
        self._hastened_ms: dict[Partition, int] = {}

    def choose(
        self,
        buffers: list[PartitionRows],
        commands: Sequence[FlushCommand],
        memory_bytes: int,
        last_lsn: int,
        everything: bool,
    ) -> list[PartitionRows]:
        """What is due, or asked for, or in the way: those with the oldest rows first, behind them those that
        have failed, by when they were to be tried again.

        memory_bytes: what all rows that wait hold. last_lsn: of the newest of them.
        """
        now_ms, wall_ms = self._timer(), self._clock()
        failed = {trouble.partition: trouble.next_ms for trouble in self._set_aside.troubles()}
        chosen = set(failed)
        for command in commands:
            chosen.update(
                each for each in command.waiting if not command.hastens or self._has_turn(each, now_ms)
            )
        for rows in buffers:
            if everything or due(rows.numbers(), self._policy, now_ms, wall_ms) is not None:
                chosen.add(rows.partition)
        chosen.update(
            buffers[index].partition for index in self._relieve(buffers, memory_bytes, last_lsn, now_ms)
        )
        return [
            rows
            for rows in sorted(buffers, key=lambda rows: (failed.get(rows.partition, NEVER), rows.first_lsn))
            if rows.partition in chosen and not self._set_aside.waits(rows.partition)
        ]

    def together(self, due: Sequence[PartitionRows]) -> Sequence[PartitionRows]:
        """Which of these are read in one pass: one that has failed is alone, and the last of all, so
        that no other waits for rows that cannot be published.
        """
        failed = {trouble.partition for trouble in self._set_aside.troubles()}
        return [rows for rows in due if rows.partition not in failed] or due[:1]

    def note_copy(self, partition: Partition, copied_bytes: int) -> None:
        """A partition was published: when requests that wait may have its file copied again."""
        if len(self._hastened_ms) >= HASTENED_PARTITIONS_MAX:
            self._hastened_ms.clear()
        pause_ms = copied_bytes * 1000 // self._policy.copy_bytes_per_s
        self._hastened_ms[partition] = self._timer() + pause_ms

    def _has_turn(self, partition: Partition, now_ms: int) -> bool:
        """Whether requests that wait for this partition's file may have it copied again."""
        return now_ms >= self._hastened_ms.get(partition, now_ms)

    def _relieve(
        self, buffers: list[PartitionRows], memory_bytes: int, last_lsn: int, now_ms: int
    ) -> list[int]:
        sizes = [(rows.bytes, index) for index, rows in enumerate(buffers) if not rows.rows_in_journal]
        chosen = relieve_memory(sizes, memory_bytes, self._policy)
        relieved_ms = self._relieved_ms
        if relieved_ms is None or now_ms - relieved_ms >= self._policy.pressure_interval_ms:
            oldest = [(rows.first_lsn, index) for index, rows in enumerate(buffers)]
            more = relieve_journal(oldest, last_lsn, self._journal_bytes(), self._policy)
            if more:
                self._relieved_ms = now_ms
            chosen += more
        return chosen
