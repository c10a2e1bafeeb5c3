"""Snappy, as one block or as a stream of frames."""

from typing import Final

import pyarrow as pa

from app.errors import BodyTooLarge, MalformedBatch

STREAM_START: Final = b"\xff\x06\x00\x00sNaPpY"
_COMPRESSED: Final = 0
_UNCOMPRESSED: Final = 1
_CRC_BYTES: Final = 4
_SKIPPABLE_FROM: Final = 0x80
_RATIO_MAX: Final = 64
"""A snappy block expands by less than this factor, so the size in its header is checked before memory is
allocated."""


def unsnap(body: bytes, max_bytes: int) -> bytes:
    """The content, at most `max_bytes`. Raises BodyTooLarge, MalformedBatch."""
    if not body.startswith(STREAM_START):
        return _block(body, max_bytes)
    pieces, size, position = [], 0, 0
    while position < len(body):
        if position + 4 > len(body):
            raise _broken("it is cut off")
        kind, length = body[position], int.from_bytes(body[position + 1 : position + 4], "little")
        chunk = body[position + 4 : position + 4 + length]
        position += 4 + length
        if len(chunk) < length:
            raise _broken("it is cut off")
        if kind == _COMPRESSED:
            pieces.append(_block(chunk[_CRC_BYTES:], max_bytes))
        elif kind == _UNCOMPRESSED:
            pieces.append(chunk[_CRC_BYTES:])
        elif kind < _SKIPPABLE_FROM:
            raise _broken(f"it has a chunk of the unknown kind {kind}")
        else:
            continue
        size += len(pieces[-1])
        if size > max_bytes:
            raise _too_large(max_bytes)
    return b"".join(pieces)


def _block(block: bytes, max_bytes: int) -> bytes:
    size = shift = 0
    for byte in block[:5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    else:
        raise _broken("its header is not a length")
    if size > max_bytes:
        raise _too_large(max_bytes)
    if size > _RATIO_MAX * len(block):
        raise _broken("its header claims more data than it contains")
    if not size:
        return b""
    try:
        content: bytes = pa.decompress(block, size, codec="snappy", asbytes=True)
    except (OSError, pa.ArrowException):
        raise _broken("it is not a snappy block") from None
    return content


def _broken(why: str) -> MalformedBatch:
    return MalformedBatch(f"the body is not valid snappy: {why}")


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {max_bytes:,} bytes after snappy decompression")
