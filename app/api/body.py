"""The body of a request: read within a limit and a deadline, and decompressed."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Receive

from app.api.charge import Charge, due_at
from app.api.content_encoding import decompress, is_encoded
from app.api.headers import RawHeaders
from app.errors import BodyTooLarge, MalformedBatch, RequestError

DECOMPRESS_INLINE_BYTES_MAX: Final = 2 << 10
UNPACKED_INLINE_BYTES_MAX: Final = 64 << 10
INLINE_ENCODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})
"""Bodies up to the first size in one of these encodings are decompressed on the event loop, since a thread
would cost more; those that grow beyond the second are moved to a thread after all. brotli and zstd are not
among them: a hundred bytes can make them fill a window of MiBs before the first byte comes out."""

_LOOSE_CHUNKS_MAX: Final = 256
"""Chunks kept separately before they are joined, so that one-byte chunks cannot multiply the memory."""


class ClientDisconnected(Exception):
    """The client disconnected while it was sending, so no answer is possible."""


class BodyTimeout(RequestError):
    """The body did not arrive within the deadline."""

    code = "request_timeout"


def body_timeout(deadline_s: float) -> BodyTimeout:
    return BodyTimeout(f"The body did not arrive within {deadline_s:g} seconds; send smaller batches.")


async def read_body(
    receive: Receive, headers: RawHeaders, max_bytes: int, deadline_s: float, charge: Charge
) -> bytes:
    """The whole body of a request, as it was sent (still compressed).

    A Content-Length above `max_bytes` is refused before anything is read, a chunked body as soon as it grows
    beyond. A body that comes in one piece is not copied.
    Raises BodyTooLarge, BodyTimeout, ClientDisconnected; Refused if there is no room for the bytes that
    arrive.
    """
    expected = _expected(headers, max_bytes)
    since = asyncio.get_running_loop().time()
    late_at = since + deadline_s if expected is None else due_at(since, deadline_s, 0, expected)
    try:
        async with asyncio.timeout_at(late_at) as limit:

            def note(size: int) -> None:
                charge.arrived(size)
                if expected is not None:
                    limit.reschedule(due_at(since, deadline_s, size, expected))

            message = await receive()
            body = _chunk(message)
            if message.get("more_body", False):
                body = await _read_rest(receive, body, max_bytes, note)
    except TimeoutError:
        raise body_timeout(deadline_s) from None
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body


async def unpack_body(body: bytes, content_encoding: bytes | None, max_bytes: int) -> bytes:
    """`body` without its Content-Encoding: at most `max_bytes`; large ones are decompressed in a thread.

    Raises UnsupportedMedia, BodyTooLarge, MalformedBatch.
    """
    encoding = (content_encoding or b"").decode("latin-1").strip().lower()
    if not is_encoded(content_encoding):
        return body
    if encoding in INLINE_ENCODINGS and len(body) <= DECOMPRESS_INLINE_BYTES_MAX:
        with contextlib.suppress(BodyTooLarge):
            return decompress(body, encoding, min(max_bytes, UNPACKED_INLINE_BYTES_MAX))
    return await asyncio.to_thread(decompress, body, encoding, max_bytes)


async def is_one_line(receive: Receive, max_bytes: int) -> bool:
    """Whether the rest of a body, at most `max_bytes`, contains no line end."""
    size = 0
    while size <= max_bytes:
        message = await receive()
        chunk = _chunk(message)
        size += len(chunk)
        more = message.get("more_body", False)
        if b"\n" in (chunk if more else chunk.rstrip()):
            return False
        if not more:
            return True
    return False


async def _read_rest(receive: Receive, first: bytes, max_bytes: int, note: Callable[[int], None]) -> bytes:
    joined = bytearray()
    chunks = [first]
    size = len(first)
    more = True
    while more:
        if size > max_bytes:
            raise _too_large(max_bytes)
        note(size)
        message = await receive()
        chunk = _chunk(message)
        size += len(chunk)
        chunks.append(chunk)
        more = message.get("more_body", False)
        if len(chunks) > _LOOSE_CHUNKS_MAX:
            joined += b"".join(chunks)
            chunks.clear()
    rest = b"".join(chunks)
    return bytes(joined + rest) if joined else rest


def _chunk(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    chunk: bytes = message.get("body", b"")
    return chunk


def _expected(headers: RawHeaders, max_bytes: int) -> int | None:
    """The Content-Length; None if there is none."""
    length = None
    for name, value in headers:
        if name == b"content-length":
            if not value.isdigit():
                raise MalformedBatch("Content-Length is not a number of bytes.")
            # Anything of twenty digits is too large, and int() of thousands of digits is slow.
            if len(value) > 19 or int(value) > max_bytes:
                raise _too_large(max_bytes)
            length = int(value)
    return length


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than the {max_bytes} bytes allowed; send smaller batches.")
