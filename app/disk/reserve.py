"""Room that is given up when the disk is full, so that buffered rows can still be written to files.

Writing files is what frees the journal; on a disk that something else has filled to the last block even that
is not possible, and the service could never recover by itself.
"""

import contextlib
from pathlib import Path
from typing import Final

from app.disk.durable_fs import DurableFS

_CHUNK_BYTES: Final = 1 << 20


class DiskReserve:
    """A file of `size` bytes that is there, or given up. For one thread at a time."""

    def __init__(self, fs: DurableFS, path: Path, size: int) -> None:
        self._fs = fs
        self._path = path
        self.size = size

    @property
    def kept(self) -> bool:
        return self._fs.exists(self._path)

    def keep(self) -> None:
        """Takes the room, if there is enough. Does nothing when it is taken already."""
        if not self.size or self.kept:
            return
        file = self._fs.create(self._path)
        try:
            left = self.size
            while left > 0:
                left -= file.write([bytes(min(left, _CHUNK_BYTES))])
            file.sync()
        except OSError:
            self.give_up()
            raise
        finally:
            file.close()

    def give_up(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.unlink(self._path)
