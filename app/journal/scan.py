"""Checking one segment frame by frame: what is good, what is torn, what is damaged."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from app.disk.durable_fs import DurableFS
from app.journal.failures import Damage
from app.journal.frame import HEADER_BYTES, FrameHeader, FrameType, decode_header, payload_is_valid
from app.journal.losses import Loss
from app.journal.segment import SEGMENT_HEAD_BYTES, Previous, Segment, decode_previous
from app.journal.segment_reader import SegmentReader


class SegmentHead(msgspec.Struct, frozen=True):
    """The first frame of a segment."""

    lsn: int
    salt: int
    previous: Previous


class Scan(msgspec.Struct):
    """segment: what is good. torn_bytes: bytes behind its end that were never acknowledged."""

    segment: Segment
    entries: int = 0
    torn_bytes: int = 0
    damages: list[Damage] = []


class Extent(msgspec.Struct, frozen=True):
    """How far a segment must be good.

    end: bytes that count. last_lsn: the last frame in them, None where only the file itself can tell.
    floor_lsn: no frame up to here may be missing.
    """

    end: int
    last_lsn: int | None
    floor_lsn: int


def read_head(fs: DurableFS, path: Path) -> SegmentHead | None:
    """None when the first frame is damaged."""
    data = memoryview(fs.read(path, 0, SEGMENT_HEAD_BYTES))
    header = decode_header(data)
    if header is None or header.type != FrameType.SEGMENT or not payload_is_valid(header, data):
        return None
    previous = decode_previous(data[HEADER_BYTES:])
    return SegmentHead(header.lsn, header.salt, previous) if previous else None


def guess_salt(reader: SegmentReader, first_lsn: int, below_lsn: int, file_bytes: int) -> int:
    """The salt of a segment whose first frame is damaged: that of its first frame with a fitting LSN."""
    for offset, header in reader.headers(0, file_bytes, None):
        fits = first_lsn <= header.lsn < below_lsn
        if fits and reader.frame_at(offset, header.salt, file_bytes) is not None:
            return header.salt
    return 0


def scan_segment(reader: SegmentReader, segment: Segment, extent: Extent, losses: Mapping[int, Loss]) -> Scan:
    """Walk through a segment; `segment` gets its last LSNs and end.

    losses: what a repair gave up, by start offset; it is skipped.
    """
    scan = Scan(segment)
    offset, lsn, skipped = 0, segment.first_lsn, -1
    while offset < extent.end or offset in losses:
        loss = losses.get(offset)
        if loss is not None and offset > skipped:
            skipped, offset, lsn = offset, loss.end, loss.last_lsn + 1
            continue
        frame = reader.frame_at(offset, segment.salt, extent.end) if offset < extent.end else None
        if frame is not None and frame.header.lsn == lsn:
            if frame.header.type == FrameType.ENTRY:
                scan.entries += 1
                segment.last_entry_lsn = lsn
            offset, lsn = frame.end, lsn + 1
            continue
        if offset >= extent.end:
            break
        if _is_torn_tail(reader, offset, lsn, segment.salt, extent):
            scan.torn_bytes = segment.file_bytes - offset
            break
        damage, offset, lsn = _damage_at(reader, offset, lsn, segment, extent)
        scan.damages.append(damage)
    segment.last_lsn, segment.end = lsn - 1, offset
    required = extent.floor_lsn if extent.last_lsn is None else extent.last_lsn
    if segment.last_lsn < required:
        reason = "frames at its end are missing"
        is_last = extent.last_lsn is None
        scan.damages.append(Damage(segment.path, offset, offset, lsn, required, reason, open_ended=is_last))
    return scan


def _is_torn_tail(reader: SegmentReader, offset: int, lsn: int, salt: int, extent: Extent) -> bool:
    if extent.last_lsn is not None or lsn <= extent.floor_lsn:
        return False
    return all(header.durable_lsn < lsn for _, header in reader.headers(offset, extent.end, salt))


def _damage_at(
    reader: SegmentReader, offset: int, lsn: int, segment: Segment, extent: Extent
) -> tuple[Damage, int, int]:
    """The damage that begins at `offset`, and the offset and LSN at which good frames go on."""
    seen = lsn
    for at, header in reader.headers(offset, extent.end, segment.salt):
        seen = max(seen, header.lsn)
        if at > offset and _resumes(reader, at, header, lsn, segment.salt, extent):
            damage = Damage(segment.path, offset, at, lsn, header.lsn - 1, "frames cannot be read")
            return damage, at, header.lsn
    is_last = extent.last_lsn is None
    last = max(seen, extent.floor_lsn) if extent.last_lsn is None else extent.last_lsn
    damage = Damage(segment.path, offset, extent.end, lsn, last, "frames cannot be read", open_ended=is_last)
    return damage, extent.end, last + 1


def _resumes(
    reader: SegmentReader, at: int, header: FrameHeader, lsn: int, salt: int, extent: Extent
) -> bool:
    return header.lsn >= lsn and reader.frame_at(at, salt, extent.end) is not None
