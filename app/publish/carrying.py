"""Rows that cannot be published, carried over to the end of the journal.

The journal trims its oldest frames first. So the rows of a partition that is set aside would keep all later
frames, until the journal is full and all workspaces suffer from one broken folder. They are appended again
instead, and the manifest records their new position. It is done when the journal is half full, and then not
again before it has grown: what is carried over costs as many bytes as it frees, or fewer.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pyarrow as pa

from app.parquet.partition import Origin, origin_of
from app.publish.buffer import Buffers, PartitionRows
from app.publish.carried import Carried
from app.publish.intake import FlushCommand
from app.publish.publisher import Publisher
from app.publish.reading_back import BackReader
from app.publish.rotation import WriterPolicy

log = logging.getLogger(__name__)

PIECE_BYTES: Final = 8 << 20
"""Bytes of rows that are carried over at a time; other groups wait meanwhile."""

GROWN_SHARE: Final = 8
FULL_SHARE: Final = 16
"""Rows are carried over again when the journal has grown by an eighth of its size, but before its last
sixteenth."""

Append = Callable[[Origin, Sequence[pa.RecordBatch]], tuple[int, int] | None]
"""Makes the rows durable in frames of their own that say where they come from; their first and last LSN. None
where the disk has no room."""


class Carrier:
    """For the writer thread alone, but for `begin`. Nothing is carried over before that.

    order: while it is held, nothing is appended to the journal that is not put. in_hand: rows that are in no
    buffer at the moment.
    """

    def __init__(
        self,
        buffers: Buffers,
        back_reader: BackReader | None,
        publisher: Publisher,
        policy: WriterPolicy,
        journal_bytes: Callable[[], int],
    ) -> None:
        self.order = threading.Lock()
        self.in_hand: list[PartitionRows] = []
        self._append: Append | None = None
        self._buffers = buffers
        self._back_reader = back_reader
        self._publisher = publisher
        self._room = policy.max_journal_bytes
        self._journal_bytes = journal_bytes
        self._limit = self._room // 2
        self._through: int | None = None
        self._rows = 0

    def begin(self, append: Append) -> None:
        """All that the journal has was put."""
        self._append = append

    def turn(self, last_lsn: int, take_in: Callable[[], None], commands: Sequence[FlushCommand]) -> bool:
        """Carry a piece over where that is needed, and return whether there is more to be done at once.

        last_lsn: of the newest frame that was taken in. take_in: takes what was put. commands: those that
        wait, also the ones that are taken in.
        """
        append, reader = self._append, self._back_reader
        if append is None or reader is None or not (self._publisher.may_try() and self._publisher.is_idle):
            return False
        if self._through is None:
            size = self._journal_bytes()
            self._limit = max(
                self._room // 2,
                min(self._limit, size + self._room // GROWN_SHARE, self._room - self._room // FULL_SHARE),
            )
            if size <= self._limit:
                return False
            oldest = min((rows.first_lsn for rows in self._buffers), default=last_lsn)
            self._through = (oldest + last_lsn) // 2
            self._rows = 0
        rows = next(self._in_the_way(self._through), None)
        if rows is not None and self._carry(rows, append, reader, take_in, commands):
            return True
        if self._rows:
            log.info(
                "%d rows that cannot be published were carried over to the end of the journal", self._rows
            )
            self._limit = self._room
        self._through = None
        return False

    def _in_the_way(self, through: int) -> Iterator[PartitionRows]:
        """Rows that a file had and has lost are known by the frames they came with, and stay."""
        for trouble in self._publisher.set_aside.troubles():
            rows = self._buffers.get(trouble.partition)
            if rows is not None and rows.first_lsn <= through and not rows.recovered.rows:
                yield rows

    def _carry(
        self,
        rows: PartitionRows,
        append: Append,
        reader: BackReader,
        take_in: Callable[[], None],
        commands: Sequence[FlushCommand],
    ) -> bool:
        """Whether a piece of them was carried over."""
        partition = rows.partition
        # A few rows may be far apart in the journal: no thread waits while they are searched for.
        if rows.rows_in_journal:
            self.in_hand = reader.take(self._buffers, [rows], PIECE_BYTES)
        else:
            self.in_hand = self._buffers.take([partition])
        if not self.in_hand:
            return True  # that part of the journal has none of them
        [piece] = self.in_hand
        origin, frames = origin_of(partition, piece.first_lsn, piece.last_lsn), _frames(piece)
        with self.order:
            take_in()
            appended = append(origin, frames)
            taken, self.in_hand = self.in_hand, []
            if appended is None:
                self._buffers.restore(taken)
                return False
            first, last = appended
            self._publisher.carry(Carried(origin=origin, first_lsn=first, last_lsn=last))
            buffer = self._buffers.open(partition, first, piece.oldest_ms, piece.opened_ms)
            buffer.oldest_ms = min(buffer.oldest_ms, piece.oldest_ms)
            buffer.add_in_journal(last, piece.rows, piece.bytes)
        for command in commands:
            if partition in command.waiting:
                command.waiting[partition] = last
        self._rows += piece.rows
        return True


def _frames(piece: PartitionRows) -> list[pa.RecordBatch]:
    table = piece.table().combine_chunks()
    rows = max(table.num_rows * PIECE_BYTES // max(table.nbytes, 1), 1)
    return [batch for batch in table.to_batches(max_chunksize=rows) if batch.num_rows]
