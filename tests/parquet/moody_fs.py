"""Real directories on which a chosen call goes wrong; for campaigns there is the simulated disk."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from app.disk.durable_file import DurableFile, SyncFailed
from app.disk.durable_fs import DurableFS
from tests.support.simulated_disk import Crash

Choice = Callable[[str, Path], bool]
"""Whether this call (create, rename, unlink, …) of this path goes wrong. Renames: the new name."""


def never(call: str, path: Path) -> bool:
    return False


class MoodyFS(DurableFS):
    """dies: the process ends before the call. full: ENOSPC. lost: a file's sync fails."""

    def __init__(self, dies: Choice = never, full: Choice = never, lost: Choice = never) -> None:
        self.dies = dies
        self.full = full
        self.lost = lost
        self.attempts = 0

    def create(self, path: Path) -> DurableFile:
        self._meet("create", path)
        file = super().create(path)
        return _LostFile(file) if self.lost("sync", path) else file

    def rename(self, source: Path, destination: Path) -> None:
        self._meet("rename", destination)
        super().rename(source, destination)

    def unlink(self, path: Path) -> None:
        self._meet("unlink", path)
        super().unlink(path)

    def punch(self, path: Path, start: int, stop: int) -> None:
        self._meet("punch", path)
        super().punch(path, start, stop)

    def remove_directory(self, path: Path) -> None:
        self._meet("remove_directory", path)
        super().remove_directory(path)

    def sync_directory(self, path: Path) -> None:
        self._meet("sync_directory", path)
        super().sync_directory(path)

    def _meet(self, call: str, path: Path) -> None:
        self.attempts += 1
        if self.dies(call, path):
            raise Crash(call)
        if self.full(call, path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class _LostFile(DurableFile):
    def __init__(self, file: DurableFile) -> None:
        super().__init__(file._fd, file.path, file.size)

    def sync(self) -> None:
        raise SyncFailed("fsync", self.path, OSError(errno.EIO, os.strerror(errno.EIO)))
