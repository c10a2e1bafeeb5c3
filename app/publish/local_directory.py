"""Files below a local directory: staged beside it, and renamed into their places."""

import contextlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from app.disk.durable_fs import DurableFS
from app.parquet.data_file import DataFile
from app.publish.destination import Differences
from app.publish.paths import STAGING_BESIDE_DATA, SinkPaths
from app.publish.staging_directory import Placement

KNOWN_DIRECTORIES_MAX: Final = 10_000
READ_CHUNK_BYTES: Final = 8 << 20

REPLACED_FILES_MAX: Final = 256
"""Descriptors of replaced files that are freed together."""


class LocalDirectory:
    """A `Destination`. Whatever stands below `root` is of one process.

    grows: whether the next version of a file takes its place; else each is final, under a name of its own.
    """

    def __init__(self, fs: DurableFS, root: Path, grows: bool = True) -> None:
        self._fs = fs
        self._root = root
        self._grows = grows
        self._directories: set[Path] = set()

    @property
    def grows_in(self) -> Path | None:
        return self._root if self._grows else None

    def prepare(self) -> None:
        self._fs.make_directory(self._root)

    def is_taken(self, path: str) -> bool:
        return self._fs.exists(self._root / path)

    def names(self, directory: str) -> Iterable[str]:
        names = self._fs.list_directory(self._root / directory)
        return [str(PurePosixPath(directory, name)) for name in names]

    def place(
        self, placements: Sequence[Placement], staged: Callable[[Placement], Path], placed: set[str]
    ) -> None:
        finals = {placement: self._root / placement.path for placement in placements}
        directories = list(dict.fromkeys(final.parent for final in finals.values()))
        self._make_directories(directories)
        waiting = {each: final for each, final in finals.items() if each.staged not in placed}
        replaced = [final for each, final in waiting.items() if each.kept_bytes]
        with self._fs.kept_alive(replaced[:REPLACED_FILES_MAX]):
            for placement, final in waiting.items():
                self._rename(staged(placement), final)
                placed.add(placement.staged)
        self._fs.sync_directories(directories)

    def _make_directories(self, directories: Iterable[Path]) -> None:
        new = [directory for directory in directories if directory not in self._directories]
        self._fs.make_directories(new)
        if len(self._directories) >= KNOWN_DIRECTORIES_MAX:
            self._directories.clear()
        self._directories.update(new)

    def _rename(self, staged: Path, final: Path) -> None:
        try:
            self._fs.rename(staged, final)
        except FileNotFoundError:
            self._directories.clear()  # somebody removed the directory: make it again
            raise

    def holds(self, placement: Placement) -> bool:
        return is_complete(self._fs, self._root / placement.path, placement)

    def undo(self, placement: Placement, scratch: Path) -> None:
        """The old version is the beginning of the new."""
        final = self._root / placement.path
        if not self.holds(placement):
            return
        if placement.kept_bytes:
            with contextlib.suppress(FileNotFoundError):
                self._fs.unlink(scratch)
            self._fs.clone(final, scratch, placement.kept_bytes)
            self._fs.sync_file(scratch)
            self._fs.rename(scratch, final)
        else:
            self._fs.unlink(final)
        self._fs.sync_directory(final.parent)

    def differences(self, files: Iterable[DataFile]) -> Differences:
        """Every file's length is looked at; nothing is read."""
        differences = Differences()
        found = dict(self._walk())
        for file in files:
            size = found.pop(file.path, None)
            if size is None and file.sealed:
                differences.gone.append(file.path)
            elif size is None:
                differences.wrong.append(f"{file.path} is missing ({file.rows} rows, {file.bytes} bytes)")
            elif size != file.bytes:
                differences.wrong.append(f"{file.path} has {size} bytes instead of {file.bytes}")
        differences.unknown = sorted(found)
        return differences

    def _walk(self) -> Iterator[tuple[str, int]]:
        """(posix path below root, bytes) of every file; the staging directory is not entered."""
        pending = [""]
        while pending:
            directory = pending.pop()
            for name in self._fs.list_directory(self._root / directory):
                if not directory and name == STAGING_BESIDE_DATA:
                    continue
                path = f"{directory}/{name}" if directory else name
                stat = self._fs.stat(self._root / path)
                if stat.is_directory:
                    pending.append(path)
                else:
                    yield path, stat.size


def local_destination(fs: DurableFS, paths: SinkPaths, grows: bool = True) -> LocalDirectory:
    if paths.data is None:
        raise ValueError("there is no local directory for files: say where they go")
    return LocalDirectory(fs, paths.data, grows)


def is_complete(fs: DurableFS, path: Path, placement: Placement) -> bool:
    """Whether this is the file that was staged; its old bytes were there before and are not read."""
    try:
        if fs.stat(path).size != placement.bytes:
            return False
        crc = 0
        for offset in range(placement.kept_bytes, placement.bytes, READ_CHUNK_BYTES):
            length = min(READ_CHUNK_BYTES, placement.bytes - offset)
            crc = zlib.crc32(fs.read(path, offset, length), crc)
    except FileNotFoundError:
        return False
    return crc == placement.crc
