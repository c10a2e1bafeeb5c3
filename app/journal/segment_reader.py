"""Reading frames out of one segment, in bounded memory, trusting nothing."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from app.disk.durable_fs import DurableFS
from app.journal.failures import Damage, JournalDamaged
from app.journal.frame import (
    ALIGNMENT,
    HEADER_BYTES,
    MAGIC,
    FrameHeader,
    FrameType,
    decode_header,
    payload_is_valid,
)
from app.journal.losses import Loss
from app.journal.segment import Segment

WINDOW_BYTES: Final = 4 << 20
"""Bytes read at once; a frame that is larger is read whole."""


class JournalEntry(msgspec.Struct, frozen=True, gc=False):
    """One appended payload. It keeps alive the window of at least WINDOW_BYTES that it points into."""

    lsn: int
    payload: memoryview


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A valid frame at `offset`."""

    offset: int
    header: FrameHeader
    data: memoryview

    @property
    def payload(self) -> memoryview:
        return self.data[HEADER_BYTES : HEADER_BYTES + self.header.length]

    @property
    def end(self) -> int:
        return self.offset + self.header.frame_bytes


class SegmentReader:
    """Random access to the frames of one file. One thread."""

    def __init__(self, fs: DurableFS, path: Path) -> None:
        self._fs = fs
        self.path = path
        self._window = memoryview(b"")
        self._start = 0

    def view(self, offset: int, length: int) -> memoryview:
        """`length` bytes from `offset`, fewer where the file ends."""
        begin = offset - self._start
        if begin < 0 or begin + length > self._window.nbytes:
            data = self._fs.read(self.path, offset, max(length, WINDOW_BYTES))
            self._window, self._start, begin = memoryview(data), offset, 0
        return self._window[begin : begin + length]

    def frame_at(self, offset: int, salt: int, end: int) -> Frame | None:
        """The valid frame that begins at `offset` and ends by `end`, or None."""
        header = decode_header(self.view(offset, HEADER_BYTES))
        if header is None or header.salt != salt or offset + header.frame_bytes > end:
            return None
        if (header.type == FrameType.SEGMENT) != (offset == 0) or header.type == FrameType.STATE:
            return None
        data = self.view(offset, header.frame_bytes)
        return Frame(offset, header, data) if payload_is_valid(header, data) else None

    def headers(self, offset: int, end: int, salt: int | None) -> Iterator[tuple[int, FrameHeader]]:
        """Every header with a right CRC at or behind `offset`, wherever it stands; salt None: of any salt."""
        while offset < end:
            window = bytes(self.view(offset, min(WINDOW_BYTES, end - offset)))
            found = window.find(MAGIC)
            while found >= 0:
                if (offset + found) % ALIGNMENT == 0:
                    header = decode_header(self.view(offset + found, HEADER_BYTES))
                    if header is not None and salt in (None, header.salt):
                        yield offset + found, header
                found = window.find(MAGIC, found + 1)
            if len(window) < min(WINDOW_BYTES, end - offset):
                return
            offset += max(len(window) - len(MAGIC) + 1, 1)


def read_entries(
    fs: DurableFS, segment: Segment, losses: Mapping[int, Loss], after_lsn: int
) -> Iterator[JournalEntry]:
    """The entries of a segment above `after_lsn`, skipping what a repair gave up (losses by start offset).

    Raises JournalDamaged if a frame cannot be read that was valid for recovery or `append`.
    """
    reader = SegmentReader(fs, segment.path)
    offset, lsn = 0, segment.first_lsn
    while offset < segment.end:
        if offset in losses:
            offset, lsn = losses[offset].end, losses[offset].last_lsn + 1
            continue
        frame = reader.frame_at(offset, segment.salt, segment.end)
        if frame is None or frame.header.lsn != lsn:
            reason = "a frame that was valid cannot be read any more"
            raise JournalDamaged([Damage(segment.path, offset, segment.end, lsn, segment.last_lsn, reason)])
        if frame.header.type == FrameType.ENTRY and lsn > after_lsn:
            yield JournalEntry(lsn, frame.payload)
        offset, lsn = frame.end, lsn + 1
