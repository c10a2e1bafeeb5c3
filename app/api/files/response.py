"""Sends one version of a file, whatever happens to its name meanwhile.

A data file is replaced by renaming its next version over it. So the file is opened once; size, ETag and all
bytes come from that descriptor.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable
from email.utils import formatdate
from pathlib import Path
from typing import Final, Protocol, Self

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from app.api.files.byte_range import ByteRange, NotSatisfiable, matches_strongly, matches_weakly, parse_range
from app.api.headers import RawHeaders
from app.errors import NotFound

PARQUET_MEDIA_TYPE: Final = "application/vnd.apache.parquet"

READ_BYTES: Final = 256 << 10
"""Bytes that are read from the disk and held in memory at a time for one response."""

SEND_STALL_S: Final = 60.0
"""The connection of a client that reads nothing for this long is closed."""


class Opened(Protocol):
    """One version of a file that can be read while it is open.

    size: bytes. modified_s: since the epoch. etag: strong, including quotes. read_bytes: how many bytes are
    read at a time.
    """

    size: int
    modified_s: float
    etag: str
    read_bytes: int

    async def read(self, offset: int, size: int) -> bytes: ...

    def close(self) -> None: ...


class OpenedFile:
    """An `Opened` local file.

    etag: another version has a different size, time or inode.
    """

    read_bytes = READ_BYTES

    def __init__(self, path: Path) -> None:
        """Raises NotFound if the file does not exist or is a link. Blocks on the disk."""
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP):
                raise
            raise NotFound("The file was published but is no longer in its place.") from None
        status = os.fstat(self._fd)
        self.size = status.st_size
        self.modified_s = status.st_mtime
        self.etag = f'"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"'

    @classmethod
    async def open(cls, path: Path) -> Self:
        """The same, off the event loop."""
        return await asyncio.to_thread(cls, path)

    async def read(self, offset: int, size: int) -> bytes:
        return await asyncio.to_thread(os.pread, self._fd, size, offset)

    def close(self) -> None:
        os.close(self._fd)


class PublishedFileResponse:
    """ASGI response with a file: GET and HEAD, one Range, ETag and its conditions.

    opening: opens the file, which is closed here. name: the name under which a browser saves the file.
    """

    def __init__(self, opening: Awaitable[Opened], media_type: str, name: str) -> None:
        self._opening = opening
        self._media_type = media_type
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.closing(await self._opening) as opened:
            status, part = _choose(scope["method"], Headers(scope=scope), opened)
            headers = self._headers(opened, status, part)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            if scope["method"] == "HEAD" or status not in (200, 206):
                part = ByteRange(0, 0)
            await _send_part(opened, part, receive, send)

    def _headers(self, opened: Opened, status: int, part: ByteRange) -> RawHeaders:
        headers = {
            "accept-ranges": "bytes",
            "etag": opened.etag,
            "last-modified": formatdate(opened.modified_s, usegmt=True),
            "cache-control": "private, no-cache",
            "x-content-type-options": "nosniff",
            "cross-origin-resource-policy": "same-origin",
        }
        if status in (200, 206):
            headers["content-type"] = self._media_type
            headers["content-disposition"] = f'attachment; filename="{self._name}"'
        if status != 304:
            headers["content-length"] = str(part.stop - part.start)
        if status == 206:
            headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{opened.size}"
        elif status == 416:
            headers["content-range"] = f"bytes */{opened.size}"
        return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


def _choose(method: str, headers: Headers, opened: Opened) -> tuple[int, ByteRange]:
    """Status and the part to send, in the order of precedence of RFC 9110, section 13.2.2."""
    nothing = ByteRange(0, 0)
    if_match = headers.get("if-match")
    if if_match is not None and not matches_strongly(if_match, opened.etag):
        return 412, nothing
    if_none_match = headers.get("if-none-match")
    if if_none_match is not None and matches_weakly(if_none_match, opened.etag):
        return 304, nothing
    whole = ByteRange(0, opened.size)
    wanted = headers.get("range")
    # A Range counts on GET alone.
    if wanted is None or method != "GET":
        return 200, whole
    if_range = headers.get("if-range")
    if if_range is not None and not matches_strongly(if_range, opened.etag):
        return 200, whole
    try:
        part = parse_range(wanted, opened.size)
    except NotSatisfiable:
        return 416, nothing
    return (200, whole) if part is None else (206, part)


async def _send_part(opened: Opened, part: ByteRange, receive: Receive, send: Send) -> None:
    gone = asyncio.create_task(_disconnected(receive))
    try:
        offset = part.start
        while offset < part.stop and not gone.done():
            chunk = await opened.read(offset, min(opened.read_bytes, part.stop - offset))
            if not chunk:
                raise OSError(f"published file ended at {offset} instead of {part.stop}")
            offset += len(chunk)
            async with asyncio.timeout(SEND_STALL_S):
                await send({"type": "http.response.body", "body": chunk, "more_body": offset < part.stop})
        if part.start == part.stop:
            await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
