"""One open file whose writes are looped and whose failed syncs are final."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import pyarrow as pa

from app.disk.file_stat import Space as Space

Buffer: TypeAlias = bytes | bytearray | memoryview | pa.Buffer
"""Anything with the buffer protocol; its bytes must not change until the call returns."""


WRITEV_BUFFERS_MAX: Final = 1024
"""IOV_MAX of Linux."""


class SyncFailed(Exception):
    """An fsync, fdatasync or close failed: what was written before may or may not be on the disk.

    Not an OSError, so that no handler for those retries it by mistake: after a failed sync the page cache may
    show what the disk lacks, and the next sync may wrongly succeed.
    """

    def __init__(self, operation: str, path: Path, cause: OSError) -> None:
        super().__init__(f"{operation} of {path} failed: {cause.strerror or cause}")
        self.operation = operation
        self.path = path
        self.errno = cause.errno


class DurableFile:
    """A file that only grows at its end (and may be cut back). One thread at a time.

    `size` is its length in bytes; after a failed `write` it may be too low.
    """

    def __init__(self, fd: int, path: Path, size: int) -> None:
        self._fd = fd
        self.path = path
        self.size = size

    def write(self, buffers: Iterable[Buffer]) -> int:
        """Append all bytes of all buffers, in one writev where the kernel takes them; return their number.

        Raises OSError; then a part may have been appended, and `truncate` takes it back.
        """
        queue: list[Buffer | memoryview] = list(buffers)
        written = 0
        start = 0
        while start < len(queue):
            chunk = queue[start : start + WRITEV_BUFFERS_MAX]
            count = self._writev(chunk)
            self.size += count
            written += count
            for buffer in chunk:
                length = len(buffer) if type(buffer) is bytes else memoryview(buffer).nbytes
                if count < length:
                    queue[start] = memoryview(buffer).cast("B")[count:]
                    break
                count -= length
                start += 1
        return written

    def _writev(self, buffers: Sequence[Buffer]) -> int:
        return os.writev(self._fd, buffers)

    def datasync(self) -> None:
        """Make the bytes and the length durable (fdatasync), not the name: see `sync_directory`."""
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise SyncFailed("fdatasync", self.path, error) from error

    def sync(self) -> None:
        """The same, with all metadata (fsync)."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise SyncFailed("fsync", self.path, error) from error

    def truncate(self, size: int) -> None:
        """Cut back to `size` bytes; durable after the next sync."""
        os.ftruncate(self._fd, size)
        self.size = size

    def close(self) -> None:
        """Close without syncing. May be called twice."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            os.close(fd)
        except OSError as error:
            raise SyncFailed("close", self.path, error) from error
