"""Every acknowledged row exactly once, at one moment: the published files and the journal's tail.

Reads a service's disk, whether or not it runs, and writes nothing. The tail is read first and
the manifest after it, so a row that is published meanwhile is in the files, and left out of the tail. A file
is opened in the version that the manifest names; if it is newer, the manifest is awaited.
"""

import contextlib
import datetime
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import msgspec
import pyarrow as pa

from app.commit.payload import RowsFrameCodec, RowsHeader
from app.disk.durable_fs import DurableFS
from app.journal.frame import FrameType
from app.journal.scan import read_head
from app.journal.segment import list_segments
from app.journal.segment_reader import SegmentReader
from app.kinds import Kind
from app.parquet.data_file import DataFile, FileState
from app.parquet.division import split
from app.parquet.partition import Partition, Rotation, is_month, overlaps
from app.parquet.placing import AHEAD_MS, Placing, days_of
from app.publish.current_manifest import current_manifest
from app.publish.manifest import Manifest
from app.publish.paths import SinkPaths
from app.publish.placings_file import PlacingsDamaged, load_placings
from app.schema import SCHEMAS

PINNED_FILES_MAX: Final = 500
"""Files held open because they may still grow; sealed ones keep their bytes for the grace period, so they are
opened by name."""

TRIES_MAX: Final = 500
PAUSE_S: Final = 0.01
"""A new version of a file is in place some milliseconds before the manifest records it."""

TAIL_BYTES_MAX: Final = 4 << 30
"""Bytes of rows that are not in files yet, which are held in memory."""


class CannotAsk(Exception):
    """There is nothing to query, or it cannot be read. The message says what to do."""


class Selection(msgspec.Struct, frozen=True):
    """What a query reads. since, until: dates of receipt, YYYY-MM-DD, both included."""

    workspace_id: int | None = None
    since: str | None = None
    until: str | None = None

    def takes(self, file: DataFile, spread_ms: int | None) -> bool:
        """Whether the file may contain selected rows. spread_ms: as in Placings."""
        if self.workspace_id is not None and file.workspace_id != self.workspace_id:
            return False
        if spread_ms is None:
            return overlaps(file.date, self.since, self.until)
        return overlaps(
            file.date, _moved(self.since, -days_of(spread_ms)), _moved(self.until, days_of(AHEAD_MS))
        )


def _moved(date: str | None, days: int) -> str | None:
    try:
        return date and (datetime.date.fromisoformat(date) + datetime.timedelta(days)).isoformat()
    except OverflowError:
        return date


class SnapshotFile(msgspec.Struct, frozen=True):
    """name: to open it by while the snapshot is open. date: of receipt of all its rows, YYYY-MM-DD; None for
    a file of several days."""

    name: str
    workspace_id: int
    date: str | None


class _NotYet(Exception):
    """A file has a version that the manifest does not name yet."""


class Snapshot:
    """files: by kind. tail: rows that are not in files yet. selection: the selected rows; files of several
    days contain others, too."""

    def __init__(
        self,
        files: dict[Kind, list[SnapshotFile]],
        tail: dict[Kind, pa.Table],
        pinned: list[int],
        selection: Selection,
    ) -> None:
        self.files = files
        self.tail = tail
        self.selection = selection
        self._pinned = pinned

    @classmethod
    def take(
        cls,
        fs: DurableFS,
        paths: SinkPaths,
        selection: Selection,
        tail_bytes_max: int = TAIL_BYTES_MAX,
        objects: str | None = None,
    ) -> Self:
        """objects: the root of the file names if they are in a bucket, where they never change.

        Raises CannotAsk; OSError.
        """
        if paths.data is None and objects is None:
            raise CannotAsk("the files are on an object store: docs/queries.md says how to query them")
        if not fs.exists(paths.manifest):
            raise CannotAsk(f"{paths.state} is not the journal of a service; is journal.path correct?")
        try:
            return cls._take(fs, paths, selection, tail_bytes_max, objects)
        except PlacingsDamaged as error:
            raise CannotAsk(str(error)) from None

    @classmethod
    def _take(
        cls, fs: DurableFS, paths: SinkPaths, selection: Selection, tail_bytes_max: int, objects: str | None
    ) -> Self:
        tail = _Tail(fs, paths, selection, tail_bytes_max)
        for _ in range(TRIES_MAX):
            manifest = current_manifest(fs, paths)
            if manifest.last_carried_lsn > tail.last_lsn:
                tail = _Tail(fs, paths, selection, tail_bytes_max)
                continue
            spread_ms = load_placings(fs, paths).spread_ms
            pinned: list[int] = []
            try:
                if paths.data is None:
                    files = _named(f"{objects}/", manifest, selection, spread_ms)
                else:
                    files = _open(paths.data, manifest, selection, spread_ms, pinned)
                return cls(files, tail.rows(manifest), pinned, selection)
            except _NotYet:
                _close(pinned)
                time.sleep(PAUSE_S)
            except BaseException:
                _close(pinned)
                raise
        raise CannotAsk("the files do not match the manifest; the service's log tells why")

    def close(self) -> None:
        _close(self._pinned)
        self._pinned = []


class _Tail:
    """Rows of frames that are not completely published. last_lsn: of the newest frame read.

    Rows that are partitioned by their own time are not filtered by their time of receipt here.
    """

    def __init__(self, fs: DurableFS, paths: SinkPaths, selection: Selection, bytes_max: int) -> None:
        self._selection = selection
        self._frames: list[tuple[int, RowsHeader, pa.RecordBatch]] = []
        self.last_lsn = 0
        segments = []
        with contextlib.suppress(FileNotFoundError):
            segments = [path for _, path in list_segments(fs, paths.segments)]
        # What these segments have was placed so: a start begins a new one.
        self._placings = load_placings(fs, paths)
        manifest, codec, size = current_manifest(fs, paths), RowsFrameCodec(), 0
        for path in segments:
            with contextlib.suppress(FileNotFoundError):  # trimmed meanwhile: all of it is published
                for lsn, payload in _entries(fs, path):
                    self.last_lsn = lsn
                    frame = codec.decode(payload)
                    rows = self._left_of(lsn, frame.header, frame.rows, manifest)
                    if rows is not None:
                        size += rows.nbytes
                        if size > bytes_max:
                            raise CannotAsk(
                                "too many rows are waiting to be written to files: POST /flush, then try "
                                "again"
                            )
                        self._frames.append((lsn, frame.header, rows))

    def rows(self, manifest: Manifest) -> dict[Kind, pa.Table]:
        """The rows that are still not in files."""
        found: dict[Kind, list[pa.RecordBatch]] = {kind: [] for kind in Kind}
        for lsn, header, rows in self._frames:
            if header.origin is None or manifest.counts(lsn):
                left = self._left_of(lsn, header, rows, manifest)
                if left is not None:
                    found[header.kind].append(left)
        return {kind: pa.Table.from_batches(batches, SCHEMAS[kind]) for kind, batches in found.items()}

    def _left_of(
        self, lsn: int, header: RowsHeader, rows: pa.RecordBatch, manifest: Manifest
    ) -> pa.RecordBatch | None:
        origin = header.origin
        if origin is not None:
            published = manifest.is_published(origin.partition, lsn)
            placing = self._placings.at(origin.first_lsn)
            return rows if not published and self._takes(origin.partition, placing) else None
        placing = self._placings.at(lsn)
        left = [
            some
            for hourly, some in split(rows, header.kind, Rotation.HOURLY, placing)
            if self._takes(hourly, placing)
            and not any(manifest.is_published(hourly.under(each), lsn) for each in Rotation)
        ]
        return pa.concat_batches(left) if left else None

    def _takes(self, partition: Partition, placing: Placing) -> bool:
        selection = self._selection
        return selection.workspace_id in (None, partition.workspace_id) and (
            placing.late_ms is not None or overlaps(partition.date, selection.since, selection.until)
        )


def _entries(fs: DurableFS, path: Path) -> Iterator[tuple[int, memoryview]]:
    """The frames of one segment, up to its end or to the frame being written."""
    head = read_head(fs, path)
    if head is None:
        return
    end = fs.stat(path).size
    reader, offset = SegmentReader(fs, path), 0
    while (frame := reader.frame_at(offset, head.salt, end)) is not None:
        if frame.header.type == FrameType.ENTRY:
            yield frame.header.lsn, frame.payload
        offset = frame.end


def _as_found(name: str, file: DataFile, spread_ms: int | None) -> SnapshotFile:
    of_one_day = spread_ms is None and not is_month(file.date)
    return SnapshotFile(name, file.workspace_id, file.date if of_one_day else None)


def _named(
    root: str, manifest: Manifest, selection: Selection, spread_ms: int | None
) -> dict[Kind, list[SnapshotFile]]:
    names: dict[Kind, list[SnapshotFile]] = {kind: [] for kind in Kind}
    for file in manifest.files():
        if file.state is FileState.PUBLISHED and selection.takes(file, spread_ms):
            names[file.kind].append(_as_found(root + file.path, file, spread_ms))
    return names


def _open(
    root: Path, manifest: Manifest, selection: Selection, spread_ms: int | None, pinned: list[int]
) -> dict[Kind, list[SnapshotFile]]:
    names: dict[Kind, list[SnapshotFile]] = {kind: [] for kind in Kind}
    for file in manifest.files():
        if file.state is not FileState.PUBLISHED or not selection.takes(file, spread_ms):
            continue
        path = root / file.path
        try:
            if file.sealed or len(pinned) >= PINNED_FILES_MAX:
                if _is_whole(path.stat(), file):
                    names[file.kind].append(_as_found(str(path), file, spread_ms))
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue  # it was removed from outside
        pinned.append(descriptor)
        found = os.fstat(descriptor)
        if not _is_whole(found, file):
            continue
        if found.st_size != file.bytes:
            raise _NotYet
        names[file.kind].append(_as_found(f"/proc/self/fd/{descriptor}", file, spread_ms))
    return names


def _is_whole(found: os.stat_result, file: DataFile) -> bool:
    """Whether it is a file that was not cut from outside: the service's own versions never become shorter."""
    return stat.S_ISREG(found.st_mode) and found.st_size >= file.bytes


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
