"""The list of published files: an append-only log of commits whose last complete record is the truth.

First a line that names the format. Then a line for each commit: CRC-32 of the rest (8 hex digits), space, the
commit as JSON. A record torn by a crash is the last one and is cut off; a bad record followed by good ones is
damage, and refuses the start. When the log is much longer than its contents require, it is rewritten through
a temporary file.
"""

import re
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from app.disk.durable_file import DurableFile, SyncFailed
from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.data_file import DataFile, QuarantinedRows
from app.parquet.partition import Partition
from app.publish.carried import Carried, CarriedRows
from app.publish.gaps import Gap, gaps_of
from app.publish.removed_files import RemovedFiles, RemovedPartition, RemovedRows

HEADER: Final = b"parquet-sink manifest 1\n"
COMPACT_RATIO: Final = 4
COMPACT_BYTES_MIN: Final = 1 << 20
FILES_PER_RECORD: Final = 1000

_RECORD: Final = re.compile(rb"[0-9a-f]{8} \{")


class Publication(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What changed together. id: counts them from 1. files: new or in place of those of the same path.

    removed: partitions whose files retention has removed, in place of their records before. removed_rows:
    of those of which nothing else is remembered. carried: rows that other frames of the journal have now.
    more: the next record was written together with this one.
    """

    id: int
    files: list[DataFile] = []
    quarantined: list[QuarantinedRows] = []
    removed: list[RemovedPartition] = []
    removed_rows: list[RemovedRows] = []
    carried: list[Carried] = []
    more: bool = False


class ManifestDamaged(Exception):
    """The manifest has a bad record in its middle."""


class Manifest:
    """The published files. Reads from any thread; `append` from the writer thread."""

    def __init__(self, fs: DurableFS, path: Path) -> None:
        self._fs = fs
        self._path = path
        self._lock = threading.Lock()
        self._files: dict[str, DataFile] = {}
        self._quarantined: dict[str, QuarantinedRows] = {}
        self._latest: dict[Partition, DataFile] = {}
        self._opened: dict[Partition, str] = {}
        self._open: set[Partition] = set()
        self._through: dict[Partition, int] = {}
        self._gaps: dict[Partition, list[Gap]] = {}
        self._published: Counter[tuple[int, Kind]] = Counter()
        self._removed = RemovedFiles()
        self._carried = CarriedRows()
        self._snapshot: tuple[DataFile, ...] | None = None
        self._log: DurableFile | None = None
        self._good_bytes = 0
        self._suspect = False
        self._live_bytes = 0
        self._line_bytes: dict[str, int] = {}
        self.last_commit = 0
        self.is_cut = False
        """Whether what was written together with the last record is missing."""

    @classmethod
    def open(cls, fs: DurableFS, path: Path) -> "Manifest":
        """Read the log at `path`; where there is none yet, an empty one is begun.

        A torn last record stays until `cut_torn_tail` or the next `append`. Raises ManifestDamaged, OSError.
        """
        manifest = cls(fs, path)
        if not fs.exists(path):
            fs.write_atomically(path, HEADER)
        # What a failed sync of an earlier process has left may be in the page cache and not on the disk. Its
        # intent goes when its record is read here, so the record must be there to stay.
        fs.sync_file(path)
        fs.drop_cached(path)
        data = fs.read(path)
        good = manifest._replay(data)
        manifest._log = fs.open_append(path)
        manifest._good_bytes = good
        return manifest

    @classmethod
    def parse(cls, data: bytes, path: Path) -> "Manifest":
        """The contents of a log, for readers. Raises ManifestDamaged."""
        manifest = cls(DurableFS(), path)
        manifest._replay(data)
        return manifest

    def apply(self, commit: Publication) -> None:
        """Take a commit as if the log had it; for a manifest that was parsed."""
        with self._lock:
            self._apply(commit)

    def files(self) -> Sequence[DataFile]:
        """All published files: an unchanging snapshot."""
        with self._lock:
            if self._snapshot is None:
                self._snapshot = tuple(self._files.values())
            return self._snapshot

    def find(self, path: str) -> DataFile | None:
        """The file with this path below `{path}`."""
        with self._lock:
            return self._files.get(path)

    def quarantined(self) -> Sequence[QuarantinedRows]:
        with self._lock:
            return tuple(self._quarantined.values())

    def rows_published(self) -> Counter[tuple[int, Kind]]:
        """Rows in all published files, by workspace and kind."""
        with self._lock:
            return Counter(self._published)

    def rows_removed(self) -> Counter[tuple[int, Kind]]:
        """Rows of files that retention has removed, by workspace and kind."""
        with self._lock:
            return self._removed.rows

    @property
    def files_removed(self) -> int:
        with self._lock:
            return self._removed.files

    def removed(self) -> Sequence[RemovedPartition]:
        """Partitions whose files were removed, as long as something could bring their rows back."""
        with self._lock:
            return self._removed.partitions

    def leaving(self) -> set[str]:
        """Paths of files that are still to be deleted."""
        return {each.path for record in self.removed() for each in record.leaving}

    def removed_of(self, partition: Partition) -> RemovedPartition | None:
        with self._lock:
            return self._removed.find(partition)

    def first_free_number(self, partition: Partition) -> int:
        """For a partition without a file: what no file of it has had, as far as that is remembered."""
        removed = self.removed_of(partition)
        return 0 if removed is None else removed.number + 1

    def is_published(self, partition: Partition, lsn: int) -> bool:
        """Whether the rows that this partition has of a frame are in a file, or lost for good."""
        with self._lock:
            if lsn > self._through.get(partition, 0):
                return False
            return not any(lsn in gap for gap in self._gaps.get(partition, ()))

    def lost_from(self, partition: Partition, lsn: int) -> str | None:
        """The path of the file that had these rows and has lost them."""
        with self._lock:
            return next((gap.path for gap in self._gaps.get(partition, ()) if lsn in gap), None)

    def published_through(self, partition: Partition) -> int:
        """No row with a higher LSN was ever in a file; 0 where there was none."""
        with self._lock:
            return self._through.get(partition, 0)

    def carried_to(self, lsn: int) -> Partition | None:
        """The partition whose rows were carried over to this frame, and count there."""
        with self._lock:
            return self._carried.partition_of(lsn)

    def counts(self, lsn: int) -> bool:
        """Whether rows that were carried over to this frame count there."""
        return self.carried_to(lsn) is not None

    @property
    def last_carried_lsn(self) -> int:
        """The highest LSN of a frame that rows were carried over to, and still wait in; 0 for none."""
        with self._lock:
            waiting = self._carried.waiting(self._through)
            return max((record.last_lsn for record in waiting), default=0)

    def lost(self) -> Sequence[DataFile]:
        """Files of which rows are lost."""
        with self._lock:
            return [file for file in self._files.values() if file.lost_rows]

    @property
    def last_lsn(self) -> int:
        """The highest LSN of any published row; 0 for none."""
        with self._lock:
            return max(self._removed.last_lsn, max(self._through.values(), default=0))

    def latest(self, partition: Partition) -> DataFile | None:
        """The partition's file with the highest number: the only one that may still grow."""
        with self._lock:
            return self._latest.get(partition)

    def opened_at(self, partition: Partition) -> str | None:
        """When the partition's first file was first published, RFC 3339."""
        with self._lock:
            return self._opened.get(partition)

    def unsealed(self) -> Sequence[DataFile]:
        """Files that may still grow."""
        with self._lock:
            return [self._latest[partition] for partition in self._open]

    def append(self, commit: Publication) -> None:
        """Make a commit durable and visible: from here on its rows are published.

        Raises OSError when the record could not be written; then nothing has changed, and the same commit may
        be appended again. Raises SyncFailed when it is unknown whether it is durable.
        """
        log = self._log
        if log is None:
            raise ValueError("the manifest is closed")
        if self.has_torn_tail or self._suspect:
            log.truncate(self._good_bytes)
        self._suspect = True  # whatever a failed write says, something of it may be there
        log.write([_line(commit)])
        log.datasync()
        self._suspect = False
        self._good_bytes = log.size
        with self._lock:
            self._apply(commit)
        self._compact_if_long()

    @property
    def has_torn_tail(self) -> bool:
        """Whether something stands behind the last good record."""
        return self._log is not None and self._log.size > self._good_bytes

    def cut_torn_tail(self) -> None:
        """Remove what stands behind the last good record. Raises OSError, SyncFailed."""
        if self._log is not None and self.has_torn_tail:
            self._log.truncate(self._good_bytes)
            self._log.datasync()

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    def _replay(self, data: bytes) -> int:
        """Apply all records; return the length of the good prefix."""
        if not data.startswith(HEADER):
            raise ManifestDamaged(f"{self._path} does not begin with {HEADER!r}: restore it from a backup")
        position = len(HEADER)
        while position < len(data):
            end = data.find(b"\n", position)
            commit = _parse(data[position:end]) if end >= 0 else None
            if commit is None:
                self._refuse_damage(data, position)
                break
            self._apply(commit)
            position = end + 1
        return position

    def _refuse_damage(self, data: bytes, position: int) -> None:
        lines = (data[m.start() :].partition(b"\n")[0] for m in _RECORD.finditer(data, position + 1))
        if any(_parse(line) is not None for line in lines):
            raise ManifestDamaged(
                f"{self._path} is damaged at byte {position}: later records are intact, so this is not a "
                "torn tail; restore the file from a backup"
            )

    def _apply(self, commit: Publication) -> None:
        self._snapshot = None
        broken: set[Partition] = set()
        self.last_commit = max(self.last_commit, commit.id)
        self.is_cut = commit.more
        for file in commit.files:
            self._count(file.path, file)
            previous = self._files.get(file.path)
            key = file.workspace_id, file.kind
            before = previous.rows + previous.lost_rows if previous else 0
            self._published[key] += file.rows + file.lost_rows - before
            self._files[file.path] = file
            partition = file.partition
            latest = self._latest.get(partition)
            if latest is None or file.number >= latest.number:
                self._latest[partition] = file
                (self._open.discard if file.sealed else self._open.add)(partition)
            if file.number == 0 or partition not in self._opened:
                self._opened[partition] = file.created_at
            self._reach(partition, max(file.last_lsn, file.lost_through))
            if file.lost_through or partition in self._gaps:
                broken.add(partition)
        for partition in broken:
            self._gaps[partition] = gaps_of(f for f in self._files.values() if f.partition == partition)
        for rows in commit.quarantined:
            self._count(rows.path, rows)
            self._quarantined[rows.path] = rows
            self._reach(rows.partition, rows.last_lsn)
        for carried in commit.carried:
            self._carried.take(carried)
            self._reach(carried.origin.partition, carried.origin.last_lsn)
        for removed in commit.removed:
            self._remove(removed)
        for settled in commit.removed_rows:
            self._removed.take_rows(settled)

    def _remove(self, removed: RemovedPartition) -> None:
        partition = removed.partition
        gone = [file for path in removed.paths if (file := self._files.pop(path, None)) is not None]
        for file in gone:
            self._published[file.workspace_id, file.kind] -= file.rows + file.lost_rows
            self._live_bytes -= self._line_bytes.pop(file.path, 0)
        if (latest := self._latest.get(partition)) is not None and latest.path in removed.paths:
            del self._latest[partition]
            self._open.discard(partition)
            self._opened.pop(partition, None)
        if partition in self._gaps:
            self._gaps[partition] = gaps_of(f for f in self._files.values() if f.partition == partition)
        self._removed.take(removed)
        name = str(partition)
        if not removed.settled:
            self._count(name, msgspec.structs.replace(removed, paths=[]))
            self._reach(partition, removed.last_lsn)
            return
        self._live_bytes -= self._line_bytes.pop(name, 0)
        if self._through.get(partition) == removed.last_lsn and partition not in self._latest:
            del self._through[partition]

    def _reach(self, partition: Partition, lsn: int) -> None:
        self._through[partition] = max(self._through.get(partition, 0), lsn)

    def _count(self, path: str, record: DataFile | QuarantinedRows | RemovedPartition) -> None:
        size = len(msgspec.json.encode(record))
        self._live_bytes += size - self._line_bytes.get(path, 0)
        self._line_bytes[path] = size

    def _compact_if_long(self) -> None:
        log = self._log
        if log is None or log.size < max(COMPACT_BYTES_MIN, COMPACT_RATIO * self._live_bytes):
            return
        try:
            self._fs.write_atomically(self._path, self.dump())
        except OSError:
            return  # the long log is as good; the next commit tries again
        try:
            self._log = self._fs.open_append(self._path)
        except OSError as error:
            raise SyncFailed("reopening", self._path, error) from error
        self._good_bytes = self._log.size
        log.close()

    def dump(self) -> bytes:
        """A log that says no more than what counts now."""
        return b"".join([HEADER, *map(_line, self._summary())])

    def _summary(self) -> Iterable[Publication]:
        files = list(self._files.values())
        for start in range(0, len(files), FILES_PER_RECORD):
            some = files[start : start + FILES_PER_RECORD]
            yield Publication(id=self.last_commit, files=some, more=True)
        yield Publication(
            id=self.last_commit,
            quarantined=list(self._quarantined.values()),
            removed=self._removed.partitions,
            removed_rows=self._removed.settled(),
            carried=self._carried.waiting(self._through),
        )


def _line(commit: Publication) -> bytes:
    body = msgspec.json.encode(commit)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _parse(line: bytes) -> Publication | None:
    crc, _, body = line.partition(b" ")
    if crc != b"%08x" % zlib.crc32(body):
        return None
    try:
        return msgspec.json.decode(body, type=Publication)
    except msgspec.DecodeError:
        return None
