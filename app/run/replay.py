"""What comes out of the journal again: all of it at a start, and later what memory had no room for."""

import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa

from app.commit.batch_ids import DeduplicationPolicy, DeduplicationWindow, WindowDamaged
from app.commit.payload import RowsFrameCodec
from app.commit.usage import Usage
from app.disk.durable_fs import DurableFS
from app.journal.journal import Journal
from app.kinds import Kind
from app.parquet.division import split
from app.parquet.partition import Rotation
from app.publish.manifest import Manifest
from app.publish.writer import Writer
from app.run.start_patience import StartPatience
from app.run.usage_files import UsageFiles, count_published

log = logging.getLogger(__name__)

OPEN_DAYS: Final = 2
"""Days whose account may have been saved after the journal's last frame was lost."""


def load_window(fs: DurableFS, path: Path, policy: DeduplicationPolicy) -> DeduplicationWindow:
    """The batch ids of frames that were trimmed."""
    window = DeduplicationWindow(policy)
    if fs.exists(path):
        try:
            window.load(fs.read(path))
        except (WindowDamaged, OSError) as error:
            log.warning(
                "%s cannot be read (%s): batches that were sent before this start may be stored a second "
                "time if they are sent again now",
                path,
                error,
            )
    return window


class Replay:
    """Reads the journal once, for the writer, the batch ids and the account of usage."""

    def __init__(
        self,
        journal: Journal,
        window: DeduplicationWindow,
        usage: Usage,
        files: UsageFiles,
        manifest: Manifest,
        rotation: Rotation,
    ) -> None:
        self._journal = journal
        self._window = window
        self._usage = usage
        self._files = files
        self._manifest = manifest
        self._rotation = rotation

    def run(self, writer: Writer, patience: StartPatience, memory_bytes: int) -> int:
        """Hands the journal's rows to the writer, which drops what is published; returns their number.

        memory_bytes: when more rows are in memory, the writer is waited for; it publishes some, or leaves
        them to the journal. Raises JournalDamaged; StartStopped; what the writer ends with.
        """
        codec = RowsFrameCodec()
        begins = self._files.is_new
        if begins:
            count_published(self._usage, self._manifest.files())
        replayed = 0
        for entry in self._journal.read(0):
            frame = codec.decode(entry.payload)
            self._window.remember(entry.lsn, frame.header.receipts, frame.header.messages)
            kind = frame.header.kind
            if begins:
                for partition, rows in split(frame.rows, kind, self._rotation):
                    if not self._manifest.is_published(partition, entry.lsn):
                        self._usage.add_again(entry.lsn, kind, rows)
            else:
                self._usage.add_again(entry.lsn, kind, frame.rows)
            writer.put(entry.lsn, kind, frame.rows)
            replayed += frame.rows.num_rows
            while writer.buffered_bytes > memory_bytes:
                patience.until_done(writer.flush(partitions=()))
        self._usage.end_replay(self._journal.last_lsn, self._files.days()[-OPEN_DAYS:])
        if begins:
            self._files.save(self._usage)
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
