"""Rows out of the journal: all of them at a start, and later those that memory had no room for."""

from collections.abc import Callable, Collection, Iterator

import pyarrow as pa

from app.commit.batch_ids import DeduplicationWindow
from app.commit.payload import RowsFrameCodec
from app.journal.journal import Journal
from app.kinds import Kind
from app.publish.writer import Writer
from app.run.start_patience import StartPatience


def replay(
    journal: Journal,
    window: DeduplicationWindow,
    writer: Writer,
    memory_bytes: int,
    patience: StartPatience,
    counted: Callable[[int, Kind, pa.RecordBatch], None],
) -> int:
    """Hand the journal's rows to the writer, which drops what is published; return their number.

    memory_bytes: when more rows are in memory, the writer is waited for; it publishes some, or leaves them to
    the journal. counted: called for each frame, with its LSN. Raises JournalDamaged; StartStopped; what the
    writer ends with.
    """
    codec = RowsFrameCodec()
    replayed = 0
    for entry in journal.read(0):
        frame = codec.decode(entry.payload)
        window.remember(entry.lsn, frame.header.receipts, frame.header.messages)
        counted(entry.lsn, frame.header.kind, frame.rows)
        writer.put(entry.lsn, frame.header.kind, frame.rows)
        replayed += frame.rows.num_rows
        while writer.buffered_bytes > memory_bytes:
            patience.until_done(writer.flush(partitions=()))
    return replayed


def read_back(
    journal: Journal, first_lsn: int, last_lsn: int, kinds: Collection[Kind]
) -> Iterator[tuple[int, Kind, pa.RecordBatch]]:
    """The rows of the frames from first_lsn to last_lsn that are of these kinds. Raises JournalDamaged."""
    codec = RowsFrameCodec()
    for entry in journal.read(first_lsn - 1):
        if entry.lsn > last_lsn:
            return
        if codec.kind(entry.payload) in kinds:
            frame = codec.decode(entry.payload)
            yield entry.lsn, frame.header.kind, frame.rows
