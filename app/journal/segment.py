"""One segment file: its name, its first frame, and appending to it."""

import errno
import re
import secrets
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from app.disk.durable_file import Buffer
from app.disk.durable_fs import DurableFS
from app.journal.failures import JournalFailed
from app.journal.frame import HEADER_BYTES, FrameType, encode_frame

_NAME: Final = re.compile(r"([0-9]{20})\.segment")
_PREVIOUS: Final = struct.Struct("<QQQ")

SEGMENT_HEAD_BYTES: Final = HEADER_BYTES + _PREVIOUS.size
"""Length of the first frame of every segment."""


class Previous(msgspec.Struct, frozen=True):
    """The segment before this one when this one was made: its LSNs, and how many of its bytes count.

    All 0 when there was none.
    """

    first_lsn: int = 0
    last_lsn: int = 0
    end: int = 0

    def encode(self) -> bytes:
        return _PREVIOUS.pack(self.first_lsn, self.last_lsn, self.end)


def decode_previous(payload: Buffer) -> Previous | None:
    view = memoryview(payload)
    if view.nbytes != _PREVIOUS.size:
        return None
    return Previous(*_PREVIOUS.unpack(view))


class Segment(msgspec.Struct):
    """What is known of a segment that is in use.

    last_lsn: of any frame. last_entry_lsn: of the last entry, 0 when it holds none. end: bytes that count.
    file_bytes: bytes on disk, a torn tail included.
    """

    path: Path
    first_lsn: int
    salt: int
    last_lsn: int
    last_entry_lsn: int
    end: int
    file_bytes: int

    @property
    def as_previous(self) -> Previous:
        return Previous(self.first_lsn, self.last_lsn, self.end)


def segment_path(directory: Path, first_lsn: int) -> Path:
    return directory / f"{first_lsn:020d}.segment"


def list_segments(fs: DurableFS, directory: Path) -> list[tuple[int, Path]]:
    """First LSN (as the name has it) and path of every segment, oldest first."""
    matches = (_NAME.fullmatch(name) for name in fs.list_directory(directory))
    return [(int(match[1]), directory / match[0]) for match in matches if match]


class SegmentWriter:
    """The active segment: the only one that grows. `segment` is kept up to date."""

    def __init__(self, fs: DurableFS, directory: Path, first_lsn: int, previous: Previous) -> None:
        """Create the file and make it, its first frame and its name durable.

        Raises OSError and leaves no file when it cannot be made. SyncFailed and JournalFailed leave what
        there is; recovery tells from `state` that it was never used.
        """
        path = segment_path(directory, first_lsn)
        salt = secrets.randbits(64)
        payload = previous.encode()
        self._fs = fs
        self._file = fs.create(path)
        try:
            self._file.write(
                encode_frame(FrameType.SEGMENT, salt, first_lsn, first_lsn - 1, [payload], len(payload))
            )
            self._file.datasync()
            fs.sync_directory(directory)
        except OSError:
            self.discard()
            raise
        size = self._file.size
        self.segment = Segment(path, first_lsn, salt, first_lsn, 0, size, size)

    def write(self, buffers: Iterable[Buffer], last_lsn: int) -> int:
        """Append whole frames, of which the last has `last_lsn`; return their bytes.

        After an OSError the file may hold a part of them: `cut_back` before writing anything else.
        """
        if self._file.size != self.segment.end:
            raise OSError(errno.EIO, "a part of an earlier write could not be removed", str(self._file.path))
        written = self._file.write(buffers)
        self.segment.last_lsn = last_lsn
        self.segment.end = self.segment.file_bytes = self._file.size
        return written

    def cut_back(self) -> None:
        """Drop what a failed write has left, durably."""
        self._file.truncate(self.segment.end)
        self._file.datasync()

    def discard(self) -> None:
        """Remove a segment that was never used, durably, so that it cannot come back among later ones."""
        self._file.close()
        try:
            self._fs.unlink(self._file.path)
            self._fs.sync_directory(self._file.path.parent)
        except OSError as error:
            raise JournalFailed(f"cannot remove the unused {self._file.path}: {error}") from error

    def datasync(self) -> None:
        self._file.datasync()

    def close(self) -> None:
        self._file.close()
