"""One frame: header, payload, padding. The byte table is in docs/journal-format.md."""

import struct
import zlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec

from app.disk.durable_file import Buffer

MAGIC: Final = b"PSJ1"
VERSION: Final = 1
FRAME_BYTES_MAX: Final = 256 << 20
"""Largest payload that the format allows, bytes."""

_PREFIX: Final = struct.Struct("<4sI")  # magic, CRC of what follows
_BODY: Final = struct.Struct("<IBBHQQQII")  # length type version zero salt lsn durable_lsn payload_crc zero
HEADER_BYTES: Final = _PREFIX.size + _BODY.size
ALIGNMENT: Final = 8
_PADDING: Final = tuple(bytes(-n % ALIGNMENT) for n in range(ALIGNMENT))


class FrameType(IntEnum):
    SEGMENT = 1
    ENTRY = 2
    MARK = 3
    STATE = 4


_TYPES: Final = frozenset(FrameType)


class FrameHeader(msgspec.Struct, frozen=True, gc=False):
    """length: bytes of the payload. frame_bytes: of the whole frame, padding included."""

    length: int
    type: int
    salt: int
    lsn: int
    durable_lsn: int
    payload_crc: int

    @property
    def frame_bytes(self) -> int:
        return frame_bytes(self.length)


def frame_bytes(length: int) -> int:
    """Bytes that a frame with a payload of `length` bytes takes in a file."""
    return HEADER_BYTES + length + -length % ALIGNMENT


def payload_bytes(buffers: Sequence[Buffer]) -> int:
    return sum([len(b) if type(b) is bytes else memoryview(b).nbytes for b in buffers])


def encode_frame(
    type_: FrameType, salt: int, lsn: int, durable_lsn: int, buffers: Sequence[Buffer], length: int
) -> list[Buffer]:
    """The buffers to write: a header, the payload's own buffers (not copied), padding.

    length: the sum of the buffers' lengths, bytes.
    """
    crc = 0
    for buffer in buffers:
        crc = zlib.crc32(buffer, crc)
    body = _BODY.pack(length, type_, VERSION, 0, salt, lsn, durable_lsn, crc, 0)
    frame: list[Buffer] = [_PREFIX.pack(MAGIC, zlib.crc32(body)) + body, *buffers]
    if length % ALIGNMENT:
        frame.append(_PADDING[length % ALIGNMENT])
    return frame


def decode_header(data: Buffer, offset: int = 0) -> FrameHeader | None:
    """The header that begins at `offset`, or None when there is no valid one. Says nothing of the payload."""
    view = memoryview(data)
    if offset + HEADER_BYTES > view.nbytes:
        return None
    magic, header_crc = _PREFIX.unpack_from(view, offset)
    if magic != MAGIC:
        return None
    if zlib.crc32(view[offset + _PREFIX.size : offset + HEADER_BYTES]) != header_crc:
        return None
    length, type_, version, zero, salt, lsn, durable_lsn, payload_crc, zeros = _BODY.unpack_from(
        view, offset + _PREFIX.size
    )
    if version != VERSION or type_ not in _TYPES or zero or zeros or length > FRAME_BYTES_MAX:
        return None
    return FrameHeader(length, type_, salt, lsn, durable_lsn, payload_crc)


def payload_is_valid(header: FrameHeader, frame: memoryview) -> bool:
    """Whether `frame` (header, payload, padding) is whole, with the right payload and zero padding."""
    if frame.nbytes != header.frame_bytes:
        return False
    end = HEADER_BYTES + header.length
    return zlib.crc32(frame[HEADER_BYTES:end]) == header.payload_crc and not any(frame[end:])
