"""An exclusive lock on a file, held until it is closed or the process ends."""

import os
from pathlib import Path

from app.disk.file_stat import Space as Space


class LockHeld(Exception):
    """Another process holds the lock. `holder` is what it wrote into the lock file (may be empty)."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is locked by another process ({holder or 'unknown'})")
        self.path = path
        self.holder = holder


class FileLock:
    """An exclusive lock that ends with `release` or with the process, whichever comes first."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
