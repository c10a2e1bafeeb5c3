"""Rows that were left to the journal, read again when their partitions are due.

One pass over a range of the journal serves many partitions, in bounded memory: when that is used up, the rows
read so far are published, and the next pass continues after them.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

import pyarrow as pa

from app.kinds import Kind
from app.parquet.partition import Partition
from app.publish.buffer import Buffers, PartitionRows
from app.publish.rotation import WriterPolicy
from app.publish.unpublished import Unpublished

WORTH_BYTES: Final = 8 << 20
"""The least that each partition has room for in one pass: flushing less makes small row groups."""

ReadBack = Callable[[int, int, Collection[Kind]], Iterator[tuple[int, Kind, pa.RecordBatch]]]
"""The rows of these kinds in the frames from the first to the last LSN, in order."""


class RowsMissing(Exception):
    """The journal does not return rows that were left to it: continuing would lose rows."""


class BackReader:
    """Takes rows of the buffers that are in the journal. For the writer thread alone."""

    def __init__(self, read: ReadBack, unpublished: Unpublished, policy: WriterPolicy) -> None:
        self._read = read
        self._unpublished = unpublished
        self._budget = policy.max_buffered_bytes // 4
        self._worth = max(policy.early_flush_bytes, WORTH_BYTES)
        self._partitions_max = policy.max_partitions_per_publication

    def choose(self, due: Sequence[PartitionRows]) -> list[PartitionRows]:
        """Those that one pass serves, of partitions in the order of their first LSN."""
        chosen: list[PartitionRows] = []
        room = self._budget
        for rows in due[: self._partitions_max]:
            if chosen and room <= 0:
                break
            chosen.append(rows)
            room -= min(rows.bytes_in_journal, self._worth)
        return chosen

    def take(
        self, buffers: Buffers, chosen: Sequence[PartitionRows], budget: int | None = None
    ) -> list[PartitionRows]:
        """One pass: the oldest rows of these partitions, in memory, and no longer in the buffers.

        budget: bytes that may be read; the last frame may go beyond it. Raises RowsMissing; JournalDamaged.
        """
        found, through = self._pass({rows.partition: rows for rows in chosen}, budget or self._budget)
        taken = []
        for rows in chosen:
            read = found[rows.partition]
            everything = through >= rows.journal_through
            if everything and read.rows != rows.rows_in_journal:
                raise RowsMissing(
                    f"{rows.partition} waits with {rows.rows_in_journal} rows in the journal up to LSN "
                    f"{rows.journal_through}, which has {read.rows} of them"
                )
            rows.give_up_front(read, through)
            if everything:
                [later] = buffers.take([rows.partition])
                read.append(later)
            if read.rows:
                taken.append(read)
        return taken

    def _pass(
        self, wanted: dict[Partition, PartitionRows], budget: int
    ) -> tuple[dict[Partition, PartitionRows], int]:
        """The rows found, and through which LSN: that of the last one wanted, or where memory was used up."""
        found = {
            partition: PartitionRows(partition, rows.opened_ms, rows.oldest_ms, rows.journal_through, 0)
            for partition, rows in wanted.items()
        }
        first = min(rows.first_lsn for rows in wanted.values())
        last = max(rows.journal_through for rows in wanted.values())
        size = 0
        for lsn, kind, rows in self._read(first, last, {each.kind for each in wanted}):
            for partition, some in self._unpublished.rows(lsn, kind, rows):
                waiting = wanted.get(partition)
                if waiting is None or not waiting.first_lsn <= lsn <= waiting.journal_through:
                    continue
                size += found[partition].add(lsn, some)
                if (path := self._unpublished.lost_from(partition, lsn)) is not None:
                    found[partition].recovered.add(path, lsn, some.num_rows)
            if size >= budget:
                return found, lsn
        return found, last
