"""The beginning of one file into another, by the kernel where it can."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

Range: TypeAlias = tuple[int, int]
"""Bytes from the first offset up to, not including, the second."""

COPY_CHUNK_BYTES: Final = 4 << 20
"""Pieces that are synced one after the other: the sync of another file may have to wait for everything being
written."""

_NO_COPY_FILE_RANGE: Final = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM}
)


def copy_bytes(
    fd_in: int,
    fd_out: int,
    size: int,
    source: Path,
    between: Callable[[], None],
    dead: Sequence[Range] = (),
) -> None:
    """Copy the first `size` bytes, sharing blocks where the file system can. `source` is for messages.

    between: called after each chunk but the last. dead: ranges, in their order, that are not copied: they
    read as zeros, and take no room. Raises OSError, also when there are fewer bytes.
    """
    in_kernel = True
    for start, stop in _living(size, dead):
        offset = start
        while offset < stop:
            want = min(stop - offset, COPY_CHUNK_BYTES)
            try:
                if in_kernel:
                    count = os.copy_file_range(fd_in, fd_out, want, offset, offset)
                else:
                    count = os.pwrite(fd_out, os.pread(fd_in, min(want, 1 << 20), offset), offset)
            except OSError as error:
                if not in_kernel or error.errno not in _NO_COPY_FILE_RANGE:
                    raise
                in_kernel = False
                continue
            if count == 0:
                raise OSError(errno.EIO, f"ends after {offset} of {size} bytes", str(source))
            offset += count
            if offset < size:
                between()
    if dead:
        os.ftruncate(fd_out, size)


def _living(size: int, dead: Sequence[Range]) -> Iterator[Range]:
    """What lies before, between and behind the dead ranges."""
    at = 0
    for start, stop in dead:
        yield at, min(start, size)
        at = stop
    yield at, size
