"""Which rows of a journal frame are not in files yet, by partition."""

from collections.abc import Iterator

import pyarrow as pa

from app.kinds import Kind
from app.parquet.division import split
from app.parquet.partition import Partition, Rotation
from app.publish.manifest import Manifest


class Unpublished:
    """Divides rows as the writer publishes them. Made before a replay begins; for the writer thread alone."""

    def __init__(self, manifest: Manifest, rotation: Rotation) -> None:
        self._manifest = manifest
        self._rotation = rotation
        self._replay_through = manifest.last_lsn

    def rows(self, lsn: int, kind: Kind, rows: pa.RecordBatch) -> Iterator[tuple[Partition, pa.RecordBatch]]:
        """The rows of a frame by partition, without those that a replay finds in files.

        They may have been published under another rotation: so replayed rows are looked at hour by hour.
        """
        if lsn > self._replay_through:
            yield from split(rows, kind, self._rotation)
            return
        for hourly, some in split(rows, kind, Rotation.HOURLY):
            if not any(self._manifest.is_published(hourly.under(each), lsn) for each in Rotation):
                yield hourly.under(self._rotation), some

    def is_new(self, lsn: int) -> bool:
        """Whether no file can have rows of this frame: it was appended after the start."""
        return lsn > self._replay_through

    def was_lost(self, partition: Partition, lsn: int) -> bool:
        """Whether a file had the partition's rows of this frame, and has lost them."""
        return lsn <= self._replay_through and self._manifest.was_lost(partition, lsn)
