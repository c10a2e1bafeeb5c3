"""One process per data directory."""

import os
from pathlib import Path
from typing import Final

from app.disk.durable_fs import DurableFS
from app.disk.file_lock import FileLock, LockHeld

LOCK_NAME: Final = "lock"


class DataDirectoryInUse(Exception):
    """Another process works on this data directory."""


def lock_data_directory(fs: DurableFS, directory: Path) -> FileLock:
    """Take the directory (made where missing) for this process until `release`, or its end however it ends.

    Raises DataDirectoryInUse, naming the other process.
    """
    fs.make_directory(directory)
    try:
        return fs.lock(directory / LOCK_NAME, f"process {os.getpid()}")
    except LockHeld as held:
        raise DataDirectoryInUse(
            f"{directory} is in use by {held.holder or 'another process'}; stop that one first, "
            f"or give this one its own [journal] path"
        ) from held
