"""Files that are written but not moved into place yet."""

import contextlib
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from app.disk.durable_file import DurableFile
from app.disk.durable_fs import DurableFS
from app.publish.paths import SinkPaths

UNSYNCED_FILES_MAX: Final = 64
"""Descriptors that wait for their sync. A file is synced through the one it was written through: only that
is certain to report it if the kernel has failed to write the file in the meantime."""

UNSYNCED_BYTES_MAX: Final = 8 << 20
"""The total size of those files, unless a single one is larger: it bounds what waits in the page cache."""

PIECE_BYTES: Final = 4 << 20
"""A longer file is synced each time this much of it has been written. The journal's sync waits for whatever
the file system is writing at that moment, and with it the clients: for 64 MB that is a tenth of a second."""

Root: TypeAlias = Literal["data", "quarantine"]


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A staged file and its final name.

    staged: its name in the staging directory. path: its final path below `root`. bytes: its length.
    kept_bytes: the length of the old version that it begins with, 0 for a new file.
    crc: CRC-32 of the bytes after those.
    """

    root: Root
    staged: str
    path: str
    bytes: int
    kept_bytes: int
    crc: int


class Staging:
    """The staging directory. Used by the writer thread alone.

    Written files are durable after the next `sync`, which syncs many together.
    """

    def __init__(self, fs: DurableFS, paths: SinkPaths) -> None:
        self._fs = fs
        self._directory = paths.staging(fs)
        self._serial = 0
        self._unsynced: dict[str, DurableFile] = {}
        self._unsynced_bytes = 0

    def write(
        self,
        root: Root,
        path: str,
        chunks: Sequence[bytes | memoryview],
        old: Path | None = None,
        kept_bytes: int = 0,
    ) -> Placement:
        """Write one file: the first `kept_bytes` of the old version where there is one, then the chunks.

        Raises OSError, and then nothing is left behind; SyncFailed.
        """
        new_bytes = sum(map(len, chunks))
        self._serial += 1
        placement = Placement(
            root=root,
            staged=f"{self._serial:012}.staged",
            path=path,
            bytes=kept_bytes + new_bytes,
            kept_bytes=kept_bytes,
            crc=checksum(chunks),
        )
        self._make_room(placement.bytes)
        try:
            file = self._begin(placement, old)
            self._unsynced[placement.staged] = file
            self._unsynced_bytes += placement.bytes
            _write_in_pieces(file, chunks)
        except OSError:
            self.discard([placement])
            raise
        return placement

    def _make_room(self, more_bytes: int) -> None:
        many = len(self._unsynced) >= UNSYNCED_FILES_MAX
        if many or self._unsynced_bytes + more_bytes > UNSYNCED_BYTES_MAX:
            self.sync()

    def _begin(self, placement: Placement, old: Path | None) -> DurableFile:
        staged = self._directory / placement.staged
        if old is None:
            return self._fs.create(staged)
        self._fs.clone(old, staged, placement.kept_bytes)
        return self._fs.open_append(staged)

    def sync(self) -> None:
        """Make durable what was written since the last time, side by side. Raises SyncFailed."""
        files, self._unsynced = self._unsynced, {}
        self._unsynced_bytes = 0
        try:
            self._fs.sync_files(files.values())
        finally:
            for file in files.values():
                file.close()

    def sync_names(self) -> None:
        """Make the names of staged files durable. Raises OSError, SyncFailed."""
        self._fs.sync_directory(self._directory)

    def discard(self, placements: Iterable[Placement]) -> None:
        """Remove files that will not be published (yet). Raises SyncFailed."""
        for placement in placements:
            file = self._unsynced.pop(placement.staged, None)
            if file is not None:
                self._unsynced_bytes -= placement.bytes
                file.close()
            with contextlib.suppress(OSError):
                self._fs.unlink(self._directory / placement.staged)

    def path_of(self, placement: Placement) -> Path:
        """Where the file stands now."""
        return self._directory / placement.staged


def _write_in_pieces(file: DurableFile, chunks: Sequence[bytes | memoryview]) -> None:
    if sum(map(len, chunks)) <= PIECE_BYTES:
        file.write(chunks)
        return
    unsynced = 0
    for chunk in chunks:
        for start in range(0, len(chunk), PIECE_BYTES):
            if unsynced >= PIECE_BYTES:
                file.datasync()
                unsynced = 0
            unsynced += file.write([memoryview(chunk)[start : start + PIECE_BYTES]])


def checksum(chunks: Sequence[bytes | memoryview]) -> int:
    """CRC-32 of the concatenated chunks."""
    crc = 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
    return crc
