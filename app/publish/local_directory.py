"""Files below a local directory: staged next to it, and renamed into place."""

import contextlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from app.disk.durable_fs import DurableFS
from app.parquet.facts import FileFacts, read_facts
from app.publish.destination import NotPlaced
from app.publish.paths import SinkPaths
from app.publish.reconcile import FoundFile, Listing
from app.publish.removed_files import Leaving
from app.publish.staging_directory import Placement

KNOWN_DIRECTORIES_MAX: Final = 10_000
READ_CHUNK_BYTES: Final = 8 << 20

REPLACED_FILES_MAX: Final = 256
"""Descriptors of replaced files that are closed together."""


class LocalDirectory:
    """A `Destination`. Everything below `root` belongs to one process.

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
        errors = self._make_directories(dict.fromkeys(final.parent for final in finals.values()))
        failed = {each.path: errors[final.parent] for each, final in finals.items() if final.parent in errors}
        waiting = {
            each: final
            for each, final in finals.items()
            if each.staged not in placed and each.path not in failed
        }
        replaced = [final for each, final in waiting.items() if each.kept_bytes]
        with self._fs.kept_alive(replaced[:REPLACED_FILES_MAX]):
            for placement, final in waiting.items():
                try:
                    self._rename(staged(placement), final)
                    placed.add(placement.staged)
                except OSError as error:
                    failed[placement.path] = error
        in_place = [final.parent for each, final in finals.items() if each.path not in failed]
        self._fs.sync_directories(list(dict.fromkeys(in_place)))
        if failed:
            raise NotPlaced(failed)

    def _make_directories(self, directories: Iterable[Path]) -> dict[Path, OSError]:
        """All at once; where that fails, one by one, to find those that cannot be made."""
        new = [directory for directory in directories if directory not in self._directories]
        errors: dict[Path, OSError] = {}
        try:
            self._fs.make_directories(new)
        except OSError:
            for directory in new:
                try:
                    self._fs.make_directory(directory)
                except OSError as error:
                    errors[directory] = error
        if len(self._directories) >= KNOWN_DIRECTORIES_MAX:
            self._directories.clear()
        self._directories.update(set(new) - errors.keys())
        return errors

    def _rename(self, staged: Path, final: Path) -> None:
        try:
            self._fs.rename(staged, final)
        except FileNotFoundError:
            self._directories.clear()  # the directory was removed from outside: make it again
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

    def delete(self, files: Sequence[Leaving]) -> Sequence[str]:
        left, directories = [], set[Path]()
        for file in files:
            path = self._root / file.path
            with contextlib.suppress(FileNotFoundError):
                if self._fs.stat(path).size != file.bytes:
                    left.append(file.path)
                    continue
                self._fs.unlink(path)
            directories.add(path.parent)
        for directory in directories:
            self._sync_or_remove(directory)
        return left

    def _sync_or_remove(self, directory: Path) -> None:
        """Make what was deleted in it last: with the directory itself, and those above, where it is empty."""
        while directory != self._root and self._fs.exists(directory):
            self._fs.sync_directory(directory)
            try:
                self._fs.remove_directory(directory)
            except OSError:
                return  # there are other files in it
            self._directories.discard(directory)
            directory = directory.parent
        if self._fs.exists(directory):
            self._fs.sync_directory(directory)

    def listing(self, thorough: bool) -> Listing:
        """Nothing is read but names and lengths. What is hidden in the root is the service's own."""
        found = Listing()
        pending = [""]
        while pending:
            directory = pending.pop()
            try:
                names = self._fs.list_directory(self._root / directory)
            except PermissionError:
                found.unreadable.append(directory and f"{directory}/")
                continue
            for name in names:
                path = f"{directory}/{name}" if directory else name
                if not path.startswith("."):
                    self._look(path, pending, found)
        return found

    def _look(self, path: str, pending: list[str], found: Listing) -> None:
        try:
            stat = self._fs.stat(self._root / path)
        except PermissionError:
            found.unreadable.append(f"{path}/")
        except FileNotFoundError:  # a link to nowhere
            return
        else:
            if stat.is_directory:
                pending.append(path)
            else:
                found.files[path] = FoundFile(stat.size, stat.modified_ns // 1_000_000)

    def facts(self, path: str) -> FileFacts | None:
        try:
            with self._fs.open_for_read(self._root / path) as file:
                return read_facts(file)
        except OSError:
            return None


def local_destination(fs: DurableFS, paths: SinkPaths, grows: bool = True) -> LocalDirectory:
    if paths.data is None:
        raise ValueError("there is no local directory for files: configure one")
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
