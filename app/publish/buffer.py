"""Rows that wait to be written, by partition: in memory, or only in the journal."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
import pyarrow as pa

from app.parquet.partition import Partition
from app.publish.recovered import RecoveredRows
from app.publish.rotation import Buffered

FRAGMENTS_MAX: Final = 64
"""This many small batches are joined into one: each has a cost of its own, in memory and in encoding."""

FRAGMENT_BYTES: Final = 1 << 20
"""Batches of this size or more are not small."""


class PartitionRows(msgspec.Struct):
    """The waiting rows of one partition.

    bytes: memory held by the batches. first_lsn, last_lsn: frames the rows came with.
    oldest_ms: when the first of them was put. recovered: those of the rows that a file had and has lost.

    The older rows may be left to the journal: `rows_in_journal` of them, all that the frames first_lsn to
    journal_through have of this partition. They are older than those in memory, and took `bytes_in_journal`
    of it.
    """

    partition: Partition
    opened_ms: int
    oldest_ms: int
    first_lsn: int
    last_lsn: int
    rows: int = 0
    bytes: int = 0
    recovered: RecoveredRows = msgspec.field(default_factory=RecoveredRows)
    rows_in_journal: int = 0
    bytes_in_journal: int = 0
    journal_through: int = 0
    _joined: list[pa.RecordBatch] = []
    _small: list[pa.RecordBatch] = []

    def add(self, lsn: int, batch: pa.RecordBatch) -> int:
        """Take a batch; return by how many bytes this holds more than before."""
        before = self.bytes
        self.first_lsn = min(self.first_lsn, lsn)
        self.last_lsn = max(self.last_lsn, lsn)
        self.rows += batch.num_rows
        size = batch.get_total_buffer_size()
        self.bytes += size
        if size >= FRAGMENT_BYTES:
            self._join()
            self._joined.append(batch)
        else:
            self._small.append(batch)
            if len(self._small) >= FRAGMENTS_MAX:
                self._join()
        return self.bytes - before

    def _join(self) -> None:
        if not self._small:
            return
        self.bytes -= sum(batch.get_total_buffer_size() for batch in self._small)
        joined = pa.concat_batches(self._small)
        self.bytes += joined.get_total_buffer_size()
        self._joined.append(joined)
        self._small = []

    def let_go(self) -> None:
        """Leave all rows to the journal; memory holds none of them."""
        self.rows_in_journal = self.rows
        self.bytes_in_journal += self.bytes
        self.journal_through = self.last_lsn
        self.bytes = 0
        self._joined, self._small = [], []

    def add_in_journal(self, last_lsn: int, rows: int, size: int) -> None:
        """Rows arrived that do not fit into memory. size: bytes that they would take."""
        self.let_go()
        self.last_lsn = self.journal_through = max(self.last_lsn, last_lsn)
        self.rows += rows
        self.rows_in_journal += rows
        self.bytes_in_journal += size

    def give_up_front(self, read: "PartitionRows", through: int) -> None:
        """The rows that the journal has up to this frame are in `read` now, and no longer here."""
        before = self.rows_in_journal
        self.rows -= read.rows
        self.recovered.give_up_front(read.recovered, through)
        self.rows_in_journal -= read.rows
        self.bytes_in_journal = self.bytes_in_journal * self.rows_in_journal // before
        self.first_lsn = through + 1
        if through >= self.journal_through:
            self.journal_through = 0

    def batches(self) -> list[pa.RecordBatch]:
        """All batches in memory, in the order in which they were put."""
        return [*self._joined, *self._small]

    def table(self) -> pa.Table:
        return pa.Table.from_batches(self.batches())

    def append(self, later: "PartitionRows") -> None:
        """Take over what came later for the same partition."""
        if later.rows_in_journal:
            # The journal has the older rows, never those between.
            self.let_go()
            self.rows_in_journal += later.rows_in_journal
            self.bytes_in_journal += later.bytes_in_journal
            self.journal_through = later.journal_through
        self.last_lsn = max(self.last_lsn, later.last_lsn)
        self.rows += later.rows
        self.recovered.append(later.recovered)
        self.bytes += later.bytes
        self._join()
        self._joined += later.batches()

    def numbers(self) -> Buffered:
        """What rotation decides upon."""
        return Buffered(
            opened_ms=self.opened_ms,
            oldest_ms=self.oldest_ms,
            end_ms=self.partition.end_ms,
            rows=self.rows,
            bytes=self.bytes + self.bytes_in_journal,
            first_lsn=self.first_lsn,
        )


class Buffers:
    """All open partitions. For the writer thread alone."""

    def __init__(self) -> None:
        self._open: dict[Partition, PartitionRows] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[PartitionRows]:
        return iter(self._open.values())

    def snapshot(self) -> list[PartitionRows]:
        """All open partitions, for a reader on another thread."""
        return list(self._open.values())

    def get(self, partition: Partition) -> PartitionRows | None:
        return self._open.get(partition)

    def open(self, partition: Partition, lsn: int, now_ms: int, opened_ms: int) -> PartitionRows:
        """The partition's rows, begun now when there are none."""
        rows = self._open.get(partition)
        if rows is None:
            rows = PartitionRows(partition, opened_ms, now_ms, lsn, lsn)
            self._open[partition] = rows
        return rows

    def take(self, partitions: Iterable[Partition]) -> list[PartitionRows]:
        """Remove these partitions' rows, to be published."""
        return [self._open.pop(partition) for partition in partitions if partition in self._open]

    def restore(self, taken: Iterable[PartitionRows]) -> Counter[int]:
        """Put back what could not be published, before what came since.

        Returns how many bytes that costs, by workspace.
        """
        cost: Counter[int] = Counter()
        for rows in taken:
            later = self._open.get(rows.partition)
            if later is not None:
                before = rows.bytes + later.bytes
                rows.append(later)
                cost[rows.partition.workspace_id] += rows.bytes - before
            self._open[rows.partition] = rows
        return cost
