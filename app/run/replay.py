"""Reads rows from the journal: all of them at a start, and later those that did not fit into memory."""

from collections.abc import Collection, Iterator

import pyarrow as pa

from app.commit.batch_ids import DeduplicationWindow
from app.commit.payload import RowsFrameCodec, RowsHeader
from app.journal.journal import Journal
from app.kinds import Kind
from app.publish.manifest import Manifest
from app.publish.writer import Writer
from app.run.start_patience import StartPatience
from app.run.usage_replay import UsageReplay


def replay(
    journal: Journal,
    manifest: Manifest,
    window: DeduplicationWindow,
    writer: Writer,
    memory_bytes: int,
    patience: StartPatience,
    usage: UsageReplay,
) -> int:
    """Pass the journal's rows to the writer, which drops published ones; return their number.

    memory_bytes: when rows take more memory than this, the writer is waited for; it publishes some, or leaves
    them to the journal. manifest: says which frames with carried-over rows are valid. usage: counts the
    frames. Raises JournalDamaged; StartStopped; the writer's fatal error.
    """
    codec = RowsFrameCodec()
    replayed = 0
    for entry in journal.read(0):
        frame = codec.decode(entry.payload)
        if not _counts(entry.lsn, frame.header, manifest):
            continue
        window.remember(entry.lsn, frame.header.receipts, frame.header.messages)
        usage.count(entry.lsn, frame.header.kind, frame.rows, is_new=frame.header.origin is None)
        writer.put(entry.lsn, frame.header.kind, frame.rows)
        replayed += frame.rows.num_rows
        while writer.buffered_bytes > memory_bytes:
            patience.until_done(writer.flush(partitions=()))
    return replayed


def read_back(
    journal: Journal, manifest: Manifest, first_lsn: int, last_lsn: int, kinds: Collection[Kind]
) -> Iterator[tuple[int, Kind, pa.RecordBatch]]:
    """The rows of the frames from first_lsn to last_lsn that are of these kinds. Raises JournalDamaged."""
    codec = RowsFrameCodec()
    for entry in journal.read(first_lsn - 1):
        if entry.lsn > last_lsn:
            return
        if codec.kind(entry.payload) in kinds:
            frame = codec.decode(entry.payload)
            if _counts(entry.lsn, frame.header, manifest):
                yield entry.lsn, frame.header.kind, frame.rows


def _counts(lsn: int, header: RowsHeader, manifest: Manifest) -> bool:
    return header.origin is None or manifest.counts(lsn)
