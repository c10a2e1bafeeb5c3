"""A file system on which one call goes wrong: the process dies at it, or the disk answers with an error."""

import errno
import os
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from app.durable_fs import Buffer, DurableFile, DurableFS, SyncFailed


class Fault(Enum):
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    CRASH_TORN = "crash in the middle of a write"
    ERROR_ONCE = "error once"
    ERROR_FROM_HERE = "error from here on"


class Crash(BaseException):
    """The process is gone: nothing that it would still do has an effect."""


class FaultyFS(DurableFS):
    """Counts calls; the one with the number `at` (from 0) goes wrong.

    In a crash every later call crashes too. `fired` says whether it came to that.
    """

    def __init__(self, fault: Fault, at: int, error: int = errno.EIO) -> None:
        self.fault = fault
        self.at = at
        self.error = error
        self.calls: list[str] = []
        self.fired = False
        self._dead = False

    def meet(self, name: str, path: object, act: Callable[[], Any]) -> Any:
        if self._dead:
            raise Crash
        number = len(self.calls)
        self.calls.append(f"{name} {Path(str(path)).name}")
        if number == self.at or (self.fired and self.fault is Fault.ERROR_FROM_HERE):
            self.fired = True
            if self.fault in (Fault.ERROR_ONCE, Fault.ERROR_FROM_HERE):
                raise OSError(self.error, os.strerror(self.error), str(path))
            self._dead = True
            if self.fault is Fault.CRASH_AFTER:
                act()
            raise Crash
        return act()

    def repair(self) -> None:
        """Whatever is still to go wrong does not."""
        self.fault, self.at = Fault.ERROR_ONCE, -1


def _counted(name: str) -> Callable[..., Any]:
    original = getattr(DurableFS, name)

    def call(self: FaultyFS, path: Path, *arguments: Any) -> Any:
        def act() -> Any:
            done = original(self, path, *arguments)
            return FaultyFile(self, done) if isinstance(done, DurableFile) else done

        if name not in ("sync_file", "sync_directory"):
            return self.meet(name, path, act)
        try:
            return self.meet(name, path, act)
        except OSError as error:
            raise SyncFailed(name, path, error) from error

    return call


for _name in (
    "create",
    "open_append",
    "clone",
    "open_for_read",
    "sync_file",
    "sync_directory",
    "rename",
    "unlink",
    "read",
    "stat",
    "list_directory",
    "_mkdir",
):
    setattr(FaultyFS, _name, _counted(_name))


class FaultyFile(DurableFile):
    def __init__(self, fs: FaultyFS, file: DurableFile) -> None:
        super().__init__(file._fd, file.path, file.size)
        self._fs = fs

    def _writev(self, buffers: Sequence[Buffer]) -> int:
        def half() -> int:
            whole = b"".join(map(bytes, buffers))
            return os.write(self._fd, whole[: (len(whole) + 1) // 2])

        if self._fs.fault is Fault.CRASH_TORN and len(self._fs.calls) == self._fs.at:
            half()
        if self._fs.fault is Fault.ERROR_ONCE and len(self._fs.calls) == self._fs.at:
            self._fs.calls.append(f"short write {self.path.name}")
            self._fs.fired = True
            count = half()
            self._fs.at += 1  # what follows a short write is the error itself
            return count
        return int(self._fs.meet("write", self.path, lambda: super(FaultyFile, self)._writev(buffers)))

    def datasync(self) -> None:
        self._sync("datasync", super().datasync)

    def sync(self) -> None:
        self._sync("sync", super().sync)

    def _sync(self, name: str, act: Callable[[], None]) -> None:
        try:
            self._fs.meet(name, self.path, act)
        except OSError as error:
            raise SyncFailed(name, self.path, error) from error

    def truncate(self, size: int) -> None:
        self._fs.meet("truncate", self.path, lambda: super(FaultyFile, self).truncate(size))
