"""Detects whether files that may be replaced while the service runs have changed."""

import os
from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[int, int, int]
"""Modification time, inode and size: what changes when a file is written or replaced."""


class WatchedFiles:
    """Blocks on the disk: an event loop calls it in a thread."""

    def __init__(self, paths: Iterable[Path | None]) -> None:
        self._paths = [path for path in paths if path is not None]
        self._stamps = self._look()

    def changed(self) -> bool:
        """Whether they have changed since the last call; to be called before a file is read, so that no
        change is missed."""
        before, self._stamps = self._stamps, self._look()
        return before != self._stamps

    def _look(self) -> list[Stamp | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
