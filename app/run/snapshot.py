"""A copy of all published files with their manifest, taken while the service runs: `parquet-sink snapshot`.

A published file keeps every byte that its footer refers to: its next version is a new file that takes over
its name. So a second name for it, a hard link, is a copy without cost; on another file system its bytes are
copied. The manifest is written last, and names exactly the versions that were copied.
"""

import contextlib
import errno
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from app.disk.durable_fs import DurableFS
from app.parquet.data_file import DataFile, FileState
from app.publish.current_manifest import current_manifest
from app.publish.manifest import Manifest
from app.publish.paths import SinkPaths

TRIES_MAX: Final = 1_000
PAUSE_S: Final = 0.02
"""A new version of a file is in place some milliseconds before the manifest records it."""

NO_LINKS: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP})


class CannotCopy(Exception):
    """The message says what to do."""


class Copied(msgspec.Struct, frozen=True):
    """copied: the number of files that were copied byte by byte, not linked."""

    files: int
    rows: int
    bytes: int
    copied: int


def take_snapshot(fs: DurableFS, paths: SinkPaths, directory: Path) -> Copied:
    """Creates `directory`, with `parquet/` and `journal/` in it as in a service.

    Raises CannotCopy; ManifestDamaged; OSError, SyncFailed, and then `directory` does not exist.
    """
    data = paths.data
    if data is None:
        raise CannotCopy(
            "the files are on an object store: copy everything below its prefix with the store's own tools, "
            "since objects never change"
        )
    if not fs.exists(paths.manifest):
        raise CannotCopy(f"{paths.state} is not the journal of a service; is journal.path correct?")
    if fs.exists(directory):
        raise CannotCopy(f"{directory} already exists; name a directory to create")
    for own in (data, paths.state):
        if directory.resolve().is_relative_to(own.resolve()):
            raise CannotCopy(
                f"{directory} is inside {own}, which the service writes to; choose another directory"
            )
    unfinished = directory.with_name(f"{directory.name}.unfinished")
    if fs.exists(unfinished):
        raise CannotCopy(f"{unfinished} is left over from an interrupted snapshot; remove it first")
    try:
        copied = _Snapshot(fs, paths, data, unfinished).take()
        fs.rename(unfinished, directory)
        fs.sync_directory(directory.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return copied


class _Snapshot:
    def __init__(self, fs: DurableFS, paths: SinkPaths, data: Path, directory: Path) -> None:
        self._fs = fs
        self._paths = paths
        self._data = data
        self._files = directory / "parquet"
        self._state = SinkPaths(self._files, directory / "journal")
        self._have: dict[str, int] = {}
        self._copied: set[str] = set()
        self._missing: list[str] = []

    def take(self) -> Copied:
        for directory in (self._files, self._state.state, self._state.quarantine):
            self._fs.make_directory(directory)
        for _ in range(TRIES_MAX):
            manifest = current_manifest(self._fs, self._paths)
            files = [file for file in manifest.files() if file.state is FileState.PUBLISHED]
            self._missing = self._add_missing(files)
            if not self._missing:
                self._add_quarantined(manifest)
                return self._finish(manifest, files)
            time.sleep(PAUSE_S)
        (first, *_) = self._missing
        raise CannotCopy(
            f"{len(self._missing)} files are missing or have been changed, the first is {first}; restart "
            "the service to have them recorded as lost, then the others can be copied"
        )

    def _add_missing(self, files: list[DataFile]) -> list[str]:
        """Copy files that are missing in the version that the manifest names; return those that could not be
        copied."""
        for path in self._have.keys() - {file.path for file in files}:
            self._drop(path)  # retention has removed it meanwhile
        missing = []
        for file in files:
            if self._have.get(file.path) != file.bytes:
                self._drop(file.path)
                if not self._add(file):
                    missing.append(file.path)
        return missing

    def _add_quarantined(self, manifest: Manifest) -> None:
        for rows in manifest.quarantined():
            source, copy = self._paths.quarantine / rows.path, self._state.quarantine / rows.path
            if self._fs.exists(source):
                self._copy(source, copy, self._fs.stat(source).size)

    def _add(self, file: DataFile) -> bool:
        source, copy = self._data / file.path, self._files / file.path
        dead = () if file.final is None else file.final.dead
        try:
            self._fs.make_directory(copy.parent)
            if not self._copy(source, copy, file.bytes, dead):
                self._copied.add(file.path)
        except FileNotFoundError:
            return False
        self._have[file.path] = self._fs.stat(copy).size
        return self._have[file.path] == file.bytes

    def _copy(self, source: Path, copy: Path, size: int, dead: Sequence[tuple[int, int]] = ()) -> bool:
        """Whether the copy is a link. dead: unreferenced ranges, which use no disk space in a copy."""
        try:
            self._fs.link(source, copy)
            return True
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
        self._fs.clone(source, copy, size, dead)
        self._fs.sync_file(copy)
        return False

    def _drop(self, path: str) -> None:
        self._have.pop(path, None)
        self._copied.discard(path)
        with contextlib.suppress(FileNotFoundError):
            self._fs.unlink(self._files / path)

    def _finish(self, manifest: Manifest, files: list[DataFile]) -> Copied:
        self._fs.sync_directories(
            sorted({(self._files / file.path).parent for file in files} | {self._state.quarantine})
        )
        if self._fs.exists(self._paths.placings):
            self._fs.write_atomically(self._state.placings, self._fs.read(self._paths.placings))
        self._fs.write_atomically(self._state.manifest, manifest.dump())
        return Copied(
            len(files),
            sum(file.rows for file in files),
            sum(file.bytes for file in files),
            len(self._copied),
        )
