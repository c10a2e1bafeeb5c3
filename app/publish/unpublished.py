"""Determines which rows of a journal frame are not in files yet, by partition."""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from app.kinds import Kind
from app.parquet.division import split
from app.parquet.partition import Partition, Rotation
from app.parquet.placing import Placings
from app.publish.manifest import Manifest


class Unpublished:
    """Divides rows as the writer publishes them. Made before a replay begins; for the writer thread alone."""

    def __init__(self, manifest: Manifest, rotation: Rotation, placings: Placings) -> None:
        self._manifest = manifest
        self._rotation = rotation
        self._placings = placings
        self._replay_through = manifest.last_lsn

    def rows(self, lsn: int, kind: Kind, rows: pa.RecordBatch) -> Iterator[tuple[Partition, pa.RecordBatch]]:
        """The rows of a frame by partition, without those that a replay finds in files.

        They may have been published under another rotation: so replayed rows are looked at hour by hour.
        """
        if lsn > self._replay_through:
            yield from self.all_rows(lsn, kind, rows)
            return
        carried = self._manifest.carried_to(lsn)
        if carried is not None:
            if not self._manifest.is_published(carried, lsn):
                yield carried, rows
            return
        for hourly, some in split(rows, kind, Rotation.HOURLY, self._placings.at(lsn)):
            if not any(self._manifest.is_published(hourly.under(each), lsn) for each in Rotation):
                yield hourly.under(self._rotation), some

    def all_rows(
        self, lsn: int, kind: Kind, rows: pa.RecordBatch
    ) -> Iterable[tuple[Partition, pa.RecordBatch]]:
        """The rows of a frame by partition, as they are placed now; what was carried over has its own."""
        carried = self._manifest.carried_to(lsn)
        if carried is not None:
            return [(carried, rows)]
        return split(rows, kind, self._rotation, self._placings.at(lsn))

    def is_new(self, lsn: int) -> bool:
        """Whether no file can have rows of this frame: it was appended after the start."""
        return lsn > self._replay_through

    def lost_from(self, partition: Partition, lsn: int) -> str | None:
        """The path of the file that had the partition's rows of this frame, and has lost them."""
        return self._manifest.lost_from(partition, lsn) if lsn <= self._replay_through else None
