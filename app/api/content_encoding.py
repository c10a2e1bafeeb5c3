"""Decompresses bodies according to `Content-Encoding`, never beyond a given size.

Memory stays below the allowed size (twice that for two encodings), plus the decompressor's own: some MiB, and
for zstd its window, of which the library reserves at most 128 MiB and touches only what it writes.
"""

import zlib
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

import pyarrow as pa

from app.api.snappy import STREAM_START, unsnap
from app.errors import BodyTooLarge, MalformedBatch, UnsupportedMedia

MAX_ENCODINGS: Final = 2
"""Nested encodings in one body."""

_DEFLATE: Final = "deflate"
_SNAPPY: Final = "snappy"
_STARTS: Final = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (STREAM_START, _SNAPPY))
_ANY_START: Final = tuple(start for start, _ in _STARTS)
_CODECS: Final = MappingProxyType({"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd", "br": "brotli"})
_SHOWN_BY_BYTES: Final = frozenset({"gzip", "x-gzip", "zstd"})
_BLANKS_MAX: Final = 64
_PIECE_BYTES: Final = 256 << 10

_ZLIB_WRAPPED: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """`body` without the content encodings that the header value `encoding` lists; the last is removed first.

    gzip may have several members, and zstd several frames. `deflate` is the zlib format, and the bare stream
    that some clients send. Empty and `identity` change nothing. An encoding that is listed twice may
    have been applied once; gzip or zstd that is JSON was decompressed by a proxy that left the header.

    Raises UnsupportedMedia for an unknown encoding or more than MAX_ENCODINGS of them, BodyTooLarge as soon
    as one of them gives more than `max_bytes`, MalformedBatch when the body is corrupt, truncated, or has
    extra data after its end.
    """
    removed = ""
    for name in reversed(_names(encoding)):
        if not body:
            raise MalformedBatch(f"the body is empty, so it cannot be {name}")
        if name in _SHOWN_BY_BYTES and body[:_BLANKS_MAX].lstrip()[:1] in (b"{", b"["):
            continue
        try:
            body = _without(name, body, max_bytes)
        except MalformedBatch:
            if name != removed:
                raise
        removed = name
    return body


def joined_encodings(values: Sequence[bytes]) -> bytes | None:
    """The values of several Content-Encoding lines as one list; None for none."""
    return b", ".join(values) if values else None


def _without(name: str, body: bytes, max_bytes: int) -> bytes:
    if name == _SNAPPY:
        return unsnap(body, max_bytes)
    return _inflate(body, max_bytes) if name == _DEFLATE else _read(body, name, max_bytes)


def encoding_of_bytes(body: bytes | bytearray) -> str:
    """The encoding that a body's first bytes show, whatever its headers say; empty for none."""
    if not body.startswith(_ANY_START):
        return ""
    return next(name for start, name in _STARTS if body.startswith(start))


def _names(encoding: str) -> list[str]:
    names = [name for part in encoding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    for name in names:
        if name not in (_DEFLATE, _SNAPPY) and name not in _CODECS:
            supported = "send gzip, deflate, zstd, br, snappy or identity"
            raise UnsupportedMedia(f"content encoding {name[:40]!r} is not supported: {supported}")
    if len(names) > MAX_ENCODINGS:
        raise UnsupportedMedia(
            f"{len(names)} content encodings in one body: at most {MAX_ENCODINGS} are supported"
        )
    return names


def _read(body: bytes, name: str, max_bytes: int) -> bytes:
    pieces = []
    size = 0
    try:
        stream = pa.CompressedInputStream(pa.py_buffer(body), _CODECS[name])
        while piece := stream.read(_PIECE_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                raise _too_large(name, max_bytes)
    except (OSError, pa.ArrowException) as error:
        raise MalformedBatch(f"the body is not valid {name}: {error}") from None
    return b"".join(pieces)


def _inflate(body: bytes, max_bytes: int) -> bytes:
    try:
        return _inflate_as(_ZLIB_WRAPPED, body, max_bytes)
    except zlib.error:
        pass
    try:
        return _inflate_as(_RAW, body, max_bytes)
    except zlib.error as error:
        raise MalformedBatch(f"the body is not valid {_DEFLATE}: {error}") from None


def _inflate_as(wrapping: int, body: bytes, max_bytes: int) -> bytes:
    stream = zlib.decompressobj(wrapping)
    content = stream.decompress(body, max_bytes + 1)
    if len(content) > max_bytes:
        raise _too_large(_DEFLATE, max_bytes)
    if not stream.eof:
        raise MalformedBatch(f"the {_DEFLATE} body is truncated")
    if stream.unused_data:
        raise MalformedBatch(f"the {_DEFLATE} body has extra data after its end")
    return content


def _too_large(name: str, max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {max_bytes:,} bytes after {name} decompression")
