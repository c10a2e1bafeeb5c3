"""What a start does before it uses a journal. May be killed anywhere; run twice, it changes nothing."""

from pathlib import Path

import msgspec

from app.durable_fs import DurableFS
from app.journal.aside import copy_torn_tail, move_aside
from app.journal.failures import JournalDamaged
from app.journal.inspection import Inspection, inspect
from app.journal.segment import list_segments
from app.journal.state import State, write_state


class RecoveryReport(msgspec.Struct, frozen=True):
    """What a start has found.

    torn_bytes: dropped behind the last good frame; never acknowledged. torn_copy: where they were copied.
    """

    segments: int
    entries: int
    torn_bytes: int = 0
    torn_copy: Path | None = None


def recover(fs: DurableFS, directory: Path, known_lsn: int = 0) -> tuple[Inspection, RecoveryReport]:
    """Check the journal (made where there is none); JournalDamaged when acknowledged data is not there."""
    fs.make_directory(directory)
    read_from_disk(fs, directory)
    found = inspect(fs, directory, known_lsn)
    if found.damages:
        raise JournalDamaged(found.damages)
    if found.is_new:
        write_state(fs, directory, State())
    for path in found.unused:
        move_aside(fs, path, "unused")
    torn_bytes, torn_copy = 0, None
    for scan in found.scans[-1:]:
        if scan.torn_bytes:
            torn_bytes = scan.torn_bytes
            torn_copy = copy_torn_tail(fs, scan.segment.path, scan.segment.end, torn_bytes)
    entries = sum(scan.entries for scan in found.scans)
    return found, RecoveryReport(len(found.scans), entries, torn_bytes, torn_copy)


def read_from_disk(fs: DurableFS, directory: Path) -> None:
    """Make what is in the page cache only durable, then have the next read come from the disk.

    After a kill, frames may be readable that a power cut would still undo; what recovery hands out must stay.
    """
    fs.sync_directory(directory)
    for _, path in list_segments(fs, directory):
        fs.sync_file(path)
        fs.drop_cached(path)
