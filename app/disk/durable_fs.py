"""Files that must survive a power cut. Linux only.

The only module of the product that opens files for durable writing, syncs, renames, unlinks, truncates,
makes directories or locks. Everything goes through an instance that is passed in, so that tests can put a
simulated disk in its place: such a disk subclasses `DurableFS` and `DurableFile` and replaces the primitives;
what is composed of them (`DurableFile.write`, `make_directories`, `sync_files`, `write_atomically`) runs
unchanged on both.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import pyarrow as pa

from app.disk.durable_file import Buffer, DurableFile, SyncFailed
from app.disk.file_copy import Range, copy_bytes
from app.disk.file_lock import FileLock, LockHeld
from app.disk.file_stat import FileStat
from app.disk.file_stat import Space as Space
from app.disk.hole import punch_hole
from app.disk.side_by_side import Call, failures_of

FILE_MODE: Final = 0o666
_ZEROS: Final = bytes(1 << 20)
DIRECTORY_MODE: Final = 0o777
"""Permissions before the umask: who else may read the files is the operator's choice."""


class DurableFS:
    """The operations on files that the journal and publishing are built from. Safe from any thread.

    Files that grow:    create, open_append → DurableFile (write, datasync, sync, truncate, close)
    Staged data files:  create or clone + open_append, then sync_file, rename, sync_directory
    Compacted files:    punch
    Names:              rename, unlink, make_directory, sync_directory, sync_file, write_atomically
    Many at once:       sync_files, sync_directories, make_directories, kept_alive
    Reading:            read, open_for_read, map_for_read, stat, exists, list_directory, drop_cached
    The disk:           space, same_file_system, lock

    A name (created, renamed, unlinked) is durable only after `sync_directory` of the directory that holds it,
    except where a method says that it does this itself. Everything raises OSError with errno and file name;
    a failed sync or close raises SyncFailed.

    sync_threads_max: the number of parallel syncs, which share the file system's journal and cost little more
    than one. (syncfs would also write other programs' dirty pages, and report an error only to one caller.)
    """

    sync_threads_max: ClassVar[int] = 16

    def create(self, path: Path) -> DurableFile:
        """A new empty file; FileExistsError when the name is taken."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return DurableFile(os.open(path, flags, FILE_MODE), path, 0)

    def open_append(self, path: Path) -> DurableFile:
        """An existing file, to be continued at its end; FileNotFoundError when there is none."""
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        return DurableFile(fd, path, os.fstat(fd).st_size)

    def clone(self, source: Path, destination: Path, size: int, dead: Sequence[Range] = ()) -> None:
        """Create `destination` with the first `size` bytes of `source`, sharing blocks where possible.

        dead: ranges of them, in their order, that are not copied and read as zeros. FileExistsError when the
        name is taken; OSError when `source` is shorter. Its end is not synced.
        """
        fd_in = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            file = DurableFile(os.open(destination, flags, FILE_MODE), destination, 0)
            try:
                copy_bytes(fd_in, file._fd, size, source, file.datasync, dead)
            finally:
                file.close()
        finally:
            os.close(fd_in)

    def punch(self, path: Path, start: int, stop: int) -> None:
        """Have bytes from `start` up to `stop` read as zeros and give their room back, durably; the length
        stays.

        OSError, with an errno of `hole.NO_HOLES` where the file system cannot; then nothing has changed.
        SyncFailed.
        """
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            punch_hole(fd, start, stop, path)
        finally:
            os.close(fd)
        self.sync_file(path)

    def overwrite_with_zeros(self, path: Path, start: int, stop: int) -> None:
        """What `punch` does to a reader, where the file system has no holes. OSError; SyncFailed."""
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for at in range(start, stop, len(_ZEROS)):
                os.pwrite(fd, memoryview(_ZEROS)[: stop - at], at)
        finally:
            os.close(fd)
        self.sync_file(path)

    def sync_file(self, path: Path) -> None:
        """fsync a file that something else has written and closed."""
        _sync_path(path, os.O_RDONLY | os.O_CLOEXEC)

    def sync_directory(self, path: Path) -> None:
        """Make creations, renames and removals directly inside `path` durable."""
        _sync_path(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def sync_files(self, files: Iterable[DurableFile]) -> None:
        """Sync each of these files; raises SyncFailed when any of that failed, after trying all."""
        self._side_by_side([file.sync for file in files])

    def sync_directories(self, paths: Iterable[Path]) -> None:
        """`sync_directory` of each; raises SyncFailed when a sync failed, else OSError when an open did."""
        self._side_by_side([partial(self.sync_directory, path) for path in paths])

    def _side_by_side(self, syncs: Sequence[Call]) -> None:
        failures = failures_of(syncs, self.sync_threads_max)
        if failures:
            raise min(failures, key=lambda failure: isinstance(failure, OSError))

    def rename(self, source: Path, destination: Path) -> None:
        """Atomically give `source` the name `destination`, replacing what had it."""
        os.rename(source, destination)

    @contextlib.contextmanager
    def kept_alive(self, paths: Iterable[Path]) -> Iterator[None]:
        """While files are replaced: what these paths name now is freed at the end, side by side.

        The kernel frees a file that loses its last name within `rename`, and may wait for that 1 - 2 ms each.
        Costs a descriptor a file; where there is none, or no file, nothing is gained and nothing lost.
        """
        held = []
        with contextlib.suppress(OSError):
            for path in paths:
                held.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
        try:
            yield
        finally:
            self._side_by_side([partial(os.close, fd) for fd in held])

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def remove_directory(self, path: Path) -> None:
        """OSError when something is in it."""
        os.rmdir(path)

    def link(self, source: Path, destination: Path) -> None:
        """Give `source` a second name; FileExistsError when that is taken."""
        os.link(source, destination)

    def read(self, path: Path, offset: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `offset`, fewer only where the file ends first; None: to its end."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if length is None:
                length = max(os.fstat(fd).st_size - offset, 0)
            chunks: list[bytes] = []
            while length > 0:
                chunk = os.pread(fd, length, offset)
                if not chunk:
                    break
                chunks.append(chunk)
                offset += len(chunk)
                length -= len(chunk)
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        finally:
            os.close(fd)

    def open_for_read(self, path: Path) -> pa.NativeFile:
        """A seekable file that pyarrow.parquet reads."""
        return pa.OSFile(str(path), mode="rb")

    def map_for_read(self, path: Path) -> pa.Buffer:
        """All bytes of a file that is not empty and does not change, without reading them into memory."""
        with pa.memory_map(str(path)) as file:
            return file.read_buffer()

    def stat(self, path: Path) -> FileStat:
        """FileNotFoundError when there is none."""
        s = os.stat(path)
        return FileStat(s.st_size, s.st_mtime_ns, s.st_dev, stat.S_ISDIR(s.st_mode))

    def exists(self, path: Path) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return bool(self.stat(path))
        return False

    def list_directory(self, path: Path) -> list[str]:
        """Names directly inside `path`, sorted."""
        return sorted(os.listdir(path))

    def drop_cached(self, path: Path) -> None:
        """Ask that the next read of this file come from the disk and not from memory; a hint."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def space(self, path: Path) -> Space:
        """Of the file system that holds `path`."""
        s = os.statvfs(path)
        return Space(s.f_bavail * s.f_frsize, s.f_blocks * s.f_frsize, s.f_favail, s.f_files)

    def same_file_system(self, a: Path, b: Path) -> bool:
        """Whether a rename from `a` to `b` (existing directories) is possible.

        Two bind mounts of one file system (volumes of a container, a subPath) have one device number, and yet
        the kernel renames within a mount only.
        """
        return self.stat(a).device == self.stat(b).device and self._mount(a) == self._mount(b)

    def _mount(self, path: Path) -> str | None:
        """What identifies the mount that holds `path`; None where the kernel does not tell."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lines = Path(f"/proc/self/fdinfo/{fd}").read_text("ascii").splitlines()
        except FileNotFoundError:
            return None
        finally:
            os.close(fd)
        return next((line for line in lines if line.startswith("mnt_id:")), None)

    def lock(self, path: Path, holder: str | None) -> FileLock:
        """Lock `path` (made if missing) until it is released or the process ends; LockHeld when taken.

        holder: written into it, to say who holds it; None leaves its contents as they are.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if holder is not None:
                os.ftruncate(fd, 0)
                os.pwrite(fd, holder.encode(), 0)
        except BlockingIOError:
            other = os.pread(fd, 200, 0).decode(errors="replace").strip()
            os.close(fd)
            raise LockHeld(path, other) from None
        except OSError:
            os.close(fd)
            raise
        return FileLock(fd)

    def lock_directory(self, path: Path) -> FileLock:
        """Lock a directory, without a file in it, until it is released or the process ends; LockHeld."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise LockHeld(path, "") from None
        except OSError:
            os.close(fd)
            raise
        return FileLock(fd)

    def attribute(self, path: Path, name: str) -> bytes | None:
        """An extended attribute; None where it is not set. OSError where the file system has none."""
        try:
            return os.getxattr(path, name)
        except OSError as error:
            if error.errno == errno.ENODATA:
                return None
            raise

    def set_attribute(self, path: Path, name: str, value: bytes, *, replaces: bool) -> None:
        """Set an extended attribute of a directory, durably. FileExistsError when it is set and may not be
        replaced; OSError where the file system has none."""
        os.setxattr(path, name, value, 0 if replaces else os.XATTR_CREATE)
        self.sync_directory(path)

    def make_directory(self, path: Path) -> None:
        """`make_directories` of one."""
        self.make_directories([path])

    def make_directories(self, paths: Iterable[Path]) -> None:
        """Make all `paths` and their missing parents, durably; harmless where they exist, and after a kill.

        The names of one level are synced before the next level is made, so after a kill only the deepest
        directories that exist may not be durable yet: those are synced again. After an error some are made.
        """
        found, missing = self._found_and_missing(paths)
        self._side_by_side([partial(self._sync_if_allowed, parent) for parent in _parents(found)])
        for depth in sorted({len(path.parts) for path in missing}):
            level = [path for path in missing if len(path.parts) == depth]
            for path in level:
                with contextlib.suppress(FileExistsError):
                    self._mkdir(path)
            self.sync_directories(_parents(level))

    def _found_and_missing(self, paths: Iterable[Path]) -> tuple[Collection[Path], Collection[Path]]:
        """The deepest directories on the way to `paths` that exist, and what has to be made; each once."""
        found: dict[Path, None] = {}
        missing: dict[Path, None] = {}
        for path in paths:
            while path != path.parent and path not in found and path not in missing:
                if self.exists(path):
                    found[path] = None
                else:
                    missing[path] = None
                    path = path.parent
        return found, missing

    def _sync_if_allowed(self, path: Path) -> None:
        with contextlib.suppress(PermissionError):
            self.sync_directory(path)

    def _mkdir(self, path: Path) -> None:
        os.mkdir(path, DIRECTORY_MODE)

    def write_atomically(self, path: Path, data: Buffer) -> None:
        """Give `path` these contents, durably; a reader and a crash see the old or the new, never a mixture.

        OSError: `path` has its old contents. SyncFailed: it may have either, after a crash. Goes through
        `<path>.tmp`, which is replaced when a crash has left one.
        """
        with contextlib.suppress(FileNotFoundError):
            self.unlink(temporary := path.with_name(path.name + ".tmp"))
        file = self.create(temporary)
        try:
            file.write([data])
            file.sync()
        finally:
            file.close()
        self.rename(temporary, path)
        try:
            self.sync_directory(path.parent)
        except OSError as error:  # the directory could not be opened: readers see the new contents already
            raise SyncFailed("open", path.parent, error) from error


def _parents(paths: Iterable[Path]) -> list[Path]:
    return list(dict.fromkeys(path.parent for path in paths))


def _sync_path(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    except OSError as error:
        raise SyncFailed("fsync", path, error) from error
    finally:
        os.close(fd)
