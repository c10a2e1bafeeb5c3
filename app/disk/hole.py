"""Bytes in the middle of a file, given back to the file system. The length of the file stays."""

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

NO_HOLES: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})
"""Error codes of file systems that do not support holes."""

_KEEP_SIZE: Final = 1
_PUNCH_HOLE: Final = 2


def punch_hole(fd: int, start: int, stop: int, path: Path) -> None:
    """Bytes from `start` up to `stop` read as zeros from now on, and whole blocks of them take no room.

    path: for messages. Raises OSError.
    """
    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, start, stop - start) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
