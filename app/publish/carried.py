"""Carried-over rows: rows of a partition that cannot be published, in frames of their own."""

import msgspec

from app.parquet.partition import Origin, Partition


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the manifest: from now on the rows of `origin` are in the frames first_lsn to last_lsn.
    Without this record those frames are ignored: a crash came first, and the rows are where they were.
    """

    origin: Origin
    first_lsn: int
    last_lsn: int


class CarriedRows:
    """The records that count, in memory. The manifest's lock is around every call."""

    def __init__(self) -> None:
        self._records: dict[Partition, list[Carried]] = {}

    def take(self, record: Carried) -> None:
        """Takes the place of those whose rows were carried on."""
        partition = record.origin.partition
        known = self._records.get(partition, [])
        self._records[partition] = [
            *(each for each in known if each.last_lsn > record.origin.last_lsn),
            record,
        ]

    def partition_of(self, lsn: int) -> Partition | None:
        """Whose rows count in this frame, of those that were carried over to it."""
        for partition, records in self._records.items():
            if any(each.first_lsn <= lsn <= each.last_lsn for each in records):
                return partition
        return None

    def waiting(self, published: dict[Partition, int]) -> list[Carried]:
        """Those whose rows are not all published. published: through which LSN, by partition."""
        return [
            each
            for partition, records in self._records.items()
            for each in records
            if each.last_lsn > published.get(partition, 0)
        ]
