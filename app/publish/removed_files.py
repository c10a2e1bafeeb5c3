"""The manifest's records of files removed by retention: their rows must neither come back nor count as lost.

The record of a partition stays while anything could bring its rows back: a file that is still to be deleted,
or a frame that the journal still has. Then only their number is kept.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from app.kinds import Kind
from app.parquet.data_file import DataFile
from app.parquet.partition import Partition


class Leaving(msgspec.Struct, frozen=True):
    """A file that the manifest has no more and that is still to be deleted. bytes: its length."""

    path: str
    bytes: int


class RemovedPartition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a partition had in files that are removed, all times together.

    number: the highest one of its files. last_lsn: its rows up to this frame are published, or removed.
    paths: files that go with this very record. leaving: files that are still to be deleted. settled: nothing
    can bring the rows back, and only their number is remembered from here on.
    """

    workspace_id: int
    date: str
    hour: int | None
    kind: Kind
    number: int
    files: int
    rows: int
    last_lsn: int
    paths: list[str] = []
    leaving: list[Leaving] = []
    settled: bool = False

    @property
    def partition(self) -> Partition:
        return Partition(self.workspace_id, self.date, self.hour, self.kind)

    def with_files(self, files: Iterable[DataFile], leaving: Iterable[DataFile]) -> "RemovedPartition":
        """The next record, when more files of the partition go. leaving: those that are to be deleted."""
        gone = list(files)
        return msgspec.structs.replace(
            self,
            number=max([self.number, *(file.number for file in gone)]),
            files=self.files + len(gone),
            rows=self.rows + sum(file.rows + file.lost_rows for file in gone),
            last_lsn=max([self.last_lsn, *(max(file.last_lsn, file.lost_through) for file in gone)]),
            paths=[file.path for file in gone],
            leaving=[*self.leaving, *(Leaving(file.path, file.bytes) for file in leaving)],
        )


class RemovedRows(msgspec.Struct, frozen=True, kw_only=True):
    """Of settled partitions of one workspace and kind, all together. last_lsn: the highest of theirs."""

    workspace_id: int
    kind: Kind
    files: int
    rows: int
    last_lsn: int


def nothing_of(partition: Partition) -> RemovedPartition:
    return RemovedPartition(
        workspace_id=partition.workspace_id,
        date=partition.date,
        hour=partition.hour,
        kind=partition.kind,
        number=-1,
        files=0,
        rows=0,
        last_lsn=0,
    )


class RemovedFiles:
    """The records that count, in memory. The manifest's lock is around every call."""

    def __init__(self) -> None:
        self._partitions: dict[Partition, RemovedPartition] = {}
        self._rows: Counter[tuple[int, Kind]] = Counter()
        self._settled: dict[tuple[int, Kind], RemovedRows] = {}
        self.files = 0
        self.last_lsn = 0

    @property
    def partitions(self) -> list[RemovedPartition]:
        """Those that are not settled."""
        return list(self._partitions.values())

    @property
    def rows(self) -> Counter[tuple[int, Kind]]:
        return Counter(self._rows)

    def find(self, partition: Partition) -> RemovedPartition | None:
        return self._partitions.get(partition)

    def take(self, record: RemovedPartition) -> None:
        """It stands in place of the one before of the same partition."""
        partition = record.partition
        key = record.workspace_id, record.kind
        before = self._partitions.pop(partition, None) or nothing_of(partition)
        self._rows[key] += record.rows - before.rows
        self.files += record.files - before.files
        self.last_lsn = max(self.last_lsn, record.last_lsn)
        if record.settled:
            self._settle(key, record.files, record.rows, record.last_lsn)
        else:
            self._partitions[partition] = msgspec.structs.replace(record, paths=[])

    def take_rows(self, rows: RemovedRows) -> None:
        """What a log that was rewritten says of the settled ones."""
        key = rows.workspace_id, rows.kind
        self._rows[key] += rows.rows
        self.files += rows.files
        self.last_lsn = max(self.last_lsn, rows.last_lsn)
        self._settle(key, rows.files, rows.rows, rows.last_lsn)

    def settled(self) -> list[RemovedRows]:
        return list(self._settled.values())

    def _settle(self, key: tuple[int, Kind], files: int, rows: int, last_lsn: int) -> None:
        workspace_id, kind = key
        known = self._settled.get(key)
        if known is not None:
            files, rows, last_lsn = files + known.files, rows + known.rows, max(last_lsn, known.last_lsn)
        self._settled[key] = RemovedRows(
            workspace_id=workspace_id, kind=kind, files=files, rows=rows, last_lsn=last_lsn
        )
