"""The sub-directory for discarded bytes: kept for examination, never read again."""

import contextlib
from pathlib import Path
from typing import Final

from app.disk.durable_fs import DurableFS

ASIDE_NAME: Final = "aside"
TORN_BYTES_MAX: Final = 64 << 20
"""Torn tails are not copied while the directory holds this much; the segment itself still has them."""

COPY_BYTES: Final = 4 << 20


def copy_torn_tail(fs: DurableFS, segment: Path, start: int, length: int) -> Path | None:
    """Copy a torn tail, of which the segment keeps its own; None when there is no room for it."""
    directory = segment.parent / ASIDE_NAME
    fs.make_directory(directory)
    held = sum(fs.stat(directory / name).size for name in fs.list_directory(directory))
    target = directory / f"torn-{segment.stem}-{start}"
    if held + length > TORN_BYTES_MAX and not fs.exists(target):
        return None
    copy_range(fs, segment, start, start + length, target)
    return target


def copy_damaged(fs: DurableFS, segment: Path, start: int, end: int) -> Path:
    """Copy a damaged range; the segment keeps its own."""
    fs.make_directory(segment.parent / ASIDE_NAME)
    target = segment.parent / ASIDE_NAME / f"damaged-{segment.stem}-{start}"
    copy_range(fs, segment, start, end, target)
    return target


def copy_range(fs: DurableFS, source: Path, start: int, end: int, target: Path) -> None:
    """Copy what there is of the range, durably; what a killed copy has left is replaced."""
    temporary = target.with_name(target.name + ".tmp")
    with contextlib.suppress(FileNotFoundError):
        fs.unlink(temporary)
    file = fs.create(temporary)
    try:
        while start < end and (data := fs.read(source, start, min(COPY_BYTES, end - start))):
            file.write([data])
            start += len(data)
        file.sync()
    finally:
        file.close()
    fs.rename(temporary, target)
    fs.sync_directory(target.parent)


def move_aside(fs: DurableFS, path: Path, why: str) -> Path:
    """Move a whole file out of the journal, durably."""
    directory = path.parent / ASIDE_NAME
    fs.make_directory(directory)
    target = directory / f"{why}-{path.name}"
    number = 1
    while fs.exists(target):
        number += 1
        target = directory / f"{why}-{number}-{path.name}"
    fs.rename(path, target)
    fs.sync_directory(directory)
    fs.sync_directory(path.parent)
    return target
