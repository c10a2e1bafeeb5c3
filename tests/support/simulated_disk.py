"""A disk in memory that loses what was not synced, and a `DurableFS` on it that fails or dies on command.

A `SimulatedDisk` outlives processes. `disk.mount(fault)` is one process's view of it; a fault can end that
process (`Crash`), after which every call through the mount raises `Crash` again. Then either mount the same
disk anew (the process was killed: the page cache is intact), or take `disk.after_power_loss(rng)`: unsynced
writes are dropped, reordered and torn at 512 bytes, unsynced names vanish, come back, or are renamed back.

Data files of pyarrow work as with `DurableFS`: `open_for_read`, `clone` are here too.
"""

import contextlib
import errno
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from app.disk.durable_file import Buffer, DurableFile, SyncFailed
from app.disk.durable_fs import DurableFS
from app.disk.file_lock import FileLock, LockHeld
from app.disk.file_stat import FileStat, Space
from tests.support.faults import Crash, Fault, faults_of
from tests.support.simulated_nodes import NameChange, SimDirectory, SimFile

T = TypeVar("T")

__all__ = [
    "Crash",
    "Fault",
    "SimFile",
    "SimulatedDisk",
    "SimulatedFS",
    "SimulatedHandle",
    "faults_of",
]


class SimulatedDisk:
    """capacity_bytes: of all file contents together; None: no limit. blocked: takes no file by rename."""

    def __init__(self, capacity_bytes: int | None = None) -> None:
        self.root = SimDirectory()
        self.name_changes: list[NameChange] = []
        self.capacity_bytes = capacity_bytes
        self.locks: dict[Path, SimulatedFS] = {}
        self.blocked: Path | None = None

    def mount(self, fault: Fault | None = None) -> "SimulatedFS":
        return SimulatedFS(self, fault)

    def after_power_loss(self, rng: random.Random) -> "SimulatedDisk":
        """Another disk, with one of the states that a power cut may leave; this one stays as it is."""
        chance = rng.choice((0.0, 1.0, 0.5))
        entries: dict[int, dict[str, SimFile | SimDirectory]] = {}

        def entries_of(directory: SimDirectory) -> dict[str, SimFile | SimDirectory]:
            return entries.setdefault(id(directory), dict(directory.durable))

        for change in self.name_changes:
            if rng.random() < chance:
                change.apply(entries_of)

        def survive(node: SimFile | SimDirectory) -> SimFile | SimDirectory:
            if isinstance(node, SimFile):
                return SimFile(node.torn(rng))
            directory = SimDirectory()
            directory.cached = {name: survive(child) for name, child in entries_of(node).items()}
            directory.durable = dict(directory.cached)
            return directory

        disk = SimulatedDisk(self.capacity_bytes)
        root = survive(self.root)
        assert isinstance(root, SimDirectory)
        disk.root = root
        return disk

    def files(self) -> dict[Path, SimFile]:
        """Every file that has a name now."""
        found: dict[Path, SimFile] = {}

        def walk(path: Path, directory: SimDirectory) -> None:
            for name, node in directory.cached.items():
                if isinstance(node, SimFile):
                    found[path / name] = node
                else:
                    walk(path / name, node)

        walk(Path("/"), self.root)
        return found

    def overwrite(self, path: Path, content: bytes) -> None:
        """Change a file behind everybody's back, durably; make it if it is missing."""
        directory = self.directory(path.parent)
        directory.cached[path.name] = directory.durable[path.name] = SimFile(content)

    def remove(self, path: Path) -> None:
        """Remove a file behind everybody's back, durably."""
        directory = self.directory(path.parent)
        del directory.cached[path.name]
        directory.durable.pop(path.name, None)

    def directory(self, path: Path) -> SimDirectory:
        node = self.node(path)
        if not isinstance(node, SimDirectory):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(path))
        return node

    def node(self, path: Path) -> SimFile | SimDirectory:
        node: SimFile | SimDirectory = self.root
        for part in path.parts[1:]:
            if not isinstance(node, SimDirectory):
                raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(path))
            if part not in node.cached:
                raise FileNotFoundError(errno.ENOENT, "no such file or directory", str(path))
            node = node.cached[part]
        return node

    def file(self, path: Path) -> SimFile:
        node = self.node(path)
        if not isinstance(node, SimFile):
            raise IsADirectoryError(errno.EISDIR, "is a directory", str(path))
        return node

    def rename_entries(self, *changes: tuple[SimDirectory, str, SimFile | SimDirectory | None]) -> None:
        change = NameChange(list(changes))
        change.apply(lambda directory: directory.cached)
        self.name_changes.append(change)

    def sync_directory(self, directory: SimDirectory) -> None:
        left = []
        for change in self.name_changes:
            if any(each is directory for each, _, _ in change.changes):
                change.apply(lambda each: each.durable)
            else:
                left.append(change)
        self.name_changes = left

    def room_for(self, size: int) -> int:
        if self.capacity_bytes is None:
            return size
        used = sum(len(file.cached) for file in self.files().values())
        return max(0, min(size, self.capacity_bytes - used))


class SimulatedHandle(DurableFile):
    def __init__(self, fs: "SimulatedFS", path: Path, file: SimFile) -> None:
        super().__init__(1 << 30, path, len(file.cached))
        self._fs = fs
        self._file = file

    def _writev(self, buffers: Sequence[Buffer]) -> int:
        data = b"".join([bytes(memoryview(buffer).cast("B")) for buffer in buffers])
        return self._fs.write_some(self.path, self._file, data)

    def datasync(self) -> None:
        self._fs.sync_content("datasync", "fdatasync", self.path, self._file)

    def sync(self) -> None:
        self._fs.sync_content("sync", "fsync", self.path, self._file)

    def truncate(self, size: int) -> None:
        self._fs.step("truncate", self.path, lambda: self._file.truncate(size))
        self.size = size

    def close(self) -> None:
        if self._fd < 0 or self._fs.dead:
            return
        self._fd = -1
        try:
            self._fs.step("close", self.path, lambda: None)
        except OSError as error:
            raise SyncFailed("close", self.path, error) from error


class SimulatedLock(FileLock):
    def __init__(self, disk: SimulatedDisk, path: Path) -> None:
        super().__init__(-1)
        self._disk, self._path = disk, path

    def release(self) -> None:
        self._disk.locks.pop(self._path, None)


@dataclass
class SimulatedFS(DurableFS):
    """One process's view. `calls` names every call so far, in order: what a campaign puts its faults at.

    What runs side by side elsewhere runs here one after the other: a seed always leads to the same calls.
    """

    sync_threads_max = 1

    disk: SimulatedDisk
    fault: Fault | None = None
    dead: bool = False
    calls: list[str] = field(default_factory=list)

    def step(self, operation: str, path: Path, act: Callable[[], T]) -> T:
        """Make one call, unless the fault has it fail or die."""
        kind = self._begin(operation)
        if kind is None:
            return act()
        if kind == "crash_after":
            act()
        self._fail(kind, path)
        raise AssertionError(f"{kind} does not suit {operation}")

    def _begin(self, operation: str) -> str | None:
        if self.dead:
            raise Crash(operation)
        self.calls.append(operation)
        fault = self.fault
        return fault.kind if fault and fault.hits(len(self.calls) - 1, operation) else None

    def _fail(self, kind: str, path: Path) -> None:
        if kind.startswith("crash"):
            self.dead = True
            raise Crash(kind)
        if kind.startswith("E"):
            number = getattr(errno, kind)
            raise OSError(number, os.strerror(number), str(path))

    def write_some(self, path: Path, file: SimFile, data: bytes) -> int:
        kind = self._begin("write")
        whole = self.disk.room_for(len(data))
        if data and not whole:
            self._fail("ENOSPC", path)
        partial = kind in ("short", "crash_within", "ENOSPC")
        count = (whole + 1) // 2 if partial else whole if kind in (None, "crash_after") else 0
        file.write(len(file.cached), data[:count])
        if kind is not None:
            self._fail(kind, path)
        return count

    def map_for_read(self, path: Path) -> pa.Buffer:
        return pa.py_buffer(self.read(path))

    def sync_content(self, operation: str, name: str, path: Path, file: SimFile) -> None:
        try:
            self.step(operation, path, file.sync)
        except OSError as error:
            file.sync_fails()
            raise SyncFailed(name, path, error) from error

    def create(self, path: Path) -> DurableFile:
        def act() -> DurableFile:
            directory = self.disk.directory(path.parent)
            if path.name in directory.cached:
                raise FileExistsError(errno.EEXIST, "file exists", str(path))
            file = SimFile()
            self.disk.rename_entries((directory, path.name, file))
            return SimulatedHandle(self, path, file)

        return self.step("create", path, act)

    def open_append(self, path: Path) -> DurableFile:
        return self.step("open_append", path, lambda: SimulatedHandle(self, path, self.disk.file(path)))

    def clone(self, source: Path, destination: Path, size: int, dead: Sequence[tuple[int, int]] = ()) -> None:
        def act() -> None:
            content = bytearray(self.disk.file(source).cached[:size])
            for start, stop in dead:
                content[start:stop] = bytes(stop - start)
            if len(content) < size:
                raise OSError(errno.EIO, "is shorter", str(source))
            directory = self.disk.directory(destination.parent)
            if destination.name in directory.cached:
                raise FileExistsError(errno.EEXIST, "file exists", str(destination))
            file = SimFile()
            self.disk.rename_entries((directory, destination.name, file))
            file.write(0, bytes(content))

        self.step("clone", destination, act)

    def punch(self, path: Path, start: int, stop: int) -> None:
        def act() -> None:
            self.disk.file(path).write(start, bytes(stop - start))

        self.step("punch", path, act)
        self.sync_file(path)

    def sync_file(self, path: Path) -> None:
        kind = self._begin("sync_file")
        file = self.disk.file(path)
        if kind in (None, "crash_after"):
            file.sync()
        if kind is None:
            return
        try:
            self._fail(kind, path)
        except OSError as error:
            if kind == "EMFILE":
                raise
            file.sync_fails()
            raise SyncFailed("fsync", path, error) from error

    def sync_directory(self, path: Path) -> None:
        try:
            self.step("sync_directory", path, lambda: self.disk.sync_directory(self.disk.directory(path)))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise SyncFailed("fsync", path, error) from error

    def rename(self, source: Path, destination: Path) -> None:
        def act() -> None:
            node = self.disk.node(source)
            blocked = self.disk.blocked
            if blocked is not None and destination.is_relative_to(blocked):
                raise PermissionError(errno.EACCES, "not allowed", str(destination))
            self.disk.rename_entries(
                (self.disk.directory(source.parent), source.name, None),
                (self.disk.directory(destination.parent), destination.name, node),
            )

        self.step("rename", source, act)

    def link(self, source: Path, destination: Path) -> None:
        def act() -> None:
            directory = self.disk.directory(destination.parent)
            if destination.name in directory.cached:
                raise FileExistsError(errno.EEXIST, "file exists", str(destination))
            self.disk.rename_entries((directory, destination.name, self.disk.node(source)))

        self.step("link", destination, act)

    @contextlib.contextmanager
    def kept_alive(self, paths: Iterable[Path]) -> Iterator[None]:
        yield

    def unlink(self, path: Path) -> None:
        def act() -> None:
            self.disk.file(path)
            self.disk.rename_entries((self.disk.directory(path.parent), path.name, None))

        self.step("unlink", path, act)

    def remove_directory(self, path: Path) -> None:
        def act() -> None:
            if self.disk.directory(path).cached:
                raise OSError(errno.ENOTEMPTY, "is not empty", str(path))
            self.disk.rename_entries((self.disk.directory(path.parent), path.name, None))

        self.step("remove_directory", path, act)

    def read(self, path: Path, offset: int = 0, length: int | None = None) -> bytes:
        def act() -> bytes:
            content = self.disk.file(path).cached
            return bytes(content[offset:] if length is None else content[offset : offset + length])

        return self.step("read", path, act)

    def open_for_read(self, path: Path) -> pa.NativeFile:
        return pa.BufferReader(self.read(path))

    def stat(self, path: Path) -> FileStat:
        def act() -> FileStat:
            node = self.disk.node(path)
            size = len(node.cached) if isinstance(node, SimFile) else 0
            return FileStat(size, 0, 1, isinstance(node, SimDirectory))

        return self.step("stat", path, act)

    def list_directory(self, path: Path) -> list[str]:
        return self.step("list", path, lambda: sorted(self.disk.directory(path).cached))

    def drop_cached(self, path: Path) -> None:
        self.step("drop_cached", path, lambda: self.disk.file(path).forget_cache())

    def space(self, path: Path) -> Space:
        total = self.disk.capacity_bytes if self.disk.capacity_bytes is not None else 1 << 40
        return self.step("space", path, lambda: Space(self.disk.room_for(total), total, 1 << 20, 1 << 20))

    def _mount(self, path: Path) -> str | None:
        return "the only one"

    def lock(self, path: Path, holder: str | None) -> FileLock:
        def act() -> FileLock:
            other = self.disk.locks.get(path)
            if other is not None and not other.dead:
                raise LockHeld(path, "another mount")
            self.disk.locks[path] = self
            return SimulatedLock(self.disk, path)

        return self.step("lock", path, act)

    def attribute(self, path: Path, name: str) -> bytes | None:
        raise OSError(errno.ENOTSUP, "no extended attributes", str(path))

    def set_attribute(self, path: Path, name: str, value: bytes, *, replaces: bool) -> None:
        raise OSError(errno.ENOTSUP, "no extended attributes", str(path))

    def _mkdir(self, path: Path) -> None:
        def act() -> None:
            directory = self.disk.directory(path.parent)
            if path.name in directory.cached:
                raise FileExistsError(errno.EEXIST, "file exists", str(path))
            self.disk.rename_entries((directory, path.name, SimDirectory()))

        self.step("mkdir", path, act)
