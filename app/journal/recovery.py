"""What a start does before it uses a journal. May be killed anywhere; run twice, it changes nothing."""

from pathlib import Path

import msgspec

from app.disk.durable_fs import DurableFS
from app.journal.failures import JournalDamaged
from app.journal.inspection import Inspection, inspect
from app.journal.segment import list_segments
from app.journal.set_aside import copy_torn_tail, move_aside
from app.journal.state import JournalState, write_state


class JournalRecovery(msgspec.Struct, frozen=True):
    """What a start has found.

    torn_bytes: dropped behind the last good frame; never acknowledged. torn_copy: where they were copied.
    lost_lsns: first and last LSN that was known elsewhere but that a journal without syncs did not keep.
    """

    segments: int
    entries: int
    torn_bytes: int = 0
    torn_copy: Path | None = None
    lost_lsns: tuple[int, int] | None = None


def recover(
    fs: DurableFS, directory: Path, known_lsn: int = 0, *, syncs: bool = True
) -> tuple[Inspection, JournalRecovery]:
    """Check the journal (made where there is none); JournalDamaged when acknowledged data is not there.

    syncs: whether every append was synced. If not, a journal that ends before known_lsn is what a power cut
    may leave: it goes on above that, since no LSN is used twice.
    """
    fs.make_directory(directory)
    read_from_disk(fs, directory)
    found = inspect(fs, directory, known_lsn if syncs else 0)
    if found.damages:
        raise JournalDamaged(found.damages)
    lost_lsns = (found.last_lsn + 1, known_lsn) if found.last_lsn < known_lsn else None
    found.known_lsn = known_lsn
    if found.is_new:
        write_state(fs, directory, JournalState())
    for path in found.unused:
        move_aside(fs, path, "unused")
    torn_bytes, torn_copy = 0, None
    for scan in found.scans[-1:]:
        if scan.torn_bytes:
            torn_bytes = scan.torn_bytes
            torn_copy = copy_torn_tail(fs, scan.segment.path, scan.segment.end, torn_bytes)
    entries = sum(scan.entries for scan in found.scans)
    return found, JournalRecovery(len(found.scans), entries, torn_bytes, torn_copy, lost_lsns)


def read_from_disk(fs: DurableFS, directory: Path) -> None:
    """Make what is in the page cache only durable, then have the next read come from the disk.

    After a kill, frames may be readable that a power cut would still undo; what recovery hands out must stay.
    """
    fs.sync_directory(directory)
    for _, path in list_segments(fs, directory):
        fs.sync_file(path)
        fs.drop_cached(path)
