"""Giving up what is damaged, on an operator's explicit order, so that the next start succeeds."""

from pathlib import Path

from app.disk.durable_fs import DurableFS
from app.journal.failures import Damage, JournalDamaged
from app.journal.inspection import Inspection, inspect
from app.journal.losses import LOSSES_NAME, as_loss, write_losses
from app.journal.recovery import read_from_disk
from app.journal.set_aside import copy_damaged, move_aside
from app.journal.state import STATE_NAME, write_state


def repair(fs: DurableFS, directory: Path, known_lsn: int = 0) -> list[Damage]:
    """Record every damage of a journal as lost and keep all that is good; return the damages, none if sound.

    known_lsn: as for `Journal.open`. Nobody else may have the journal open. Killed anywhere and run again, it
    ends in the same place. Raises JournalDamaged if the journal is still damaged afterwards (a disk that goes
    on failing).
    """
    read_from_disk(fs, directory)
    given_up: list[Damage] = []
    # A second round finds what the first one's damage was hiding (a chain that leads past a moved file).
    for _ in range(3):
        found = inspect(fs, directory, known_lsn)
        if not found.damages:
            return given_up
        _give_up(fs, directory, found)
        given_up += found.damages
    remaining = inspect(fs, directory, known_lsn).damages
    if remaining:
        raise JournalDamaged(remaining)
    return given_up


def _give_up(fs: DurableFS, directory: Path, found: Inspection) -> None:
    salts = {scan.segment.path: scan.segment.salt for scan in found.scans}
    for damage in found.damages:
        if damage.start < damage.end and not damage.misplaced:
            copy_damaged(fs, damage.file, damage.start, damage.end)
    names = {damage.file.name for damage in found.damages}
    if LOSSES_NAME in names:
        move_aside(fs, directory / LOSSES_NAME, "damaged")
    losses = [as_loss(damage, salts.get(damage.file, 0)) for damage in found.damages]
    write_losses(fs, directory, list(dict.fromkeys(found.losses + losses)))
    for damage in found.damages:
        if damage.misplaced:
            move_aside(fs, damage.file, "misplaced")
    if STATE_NAME in names:
        write_state(fs, directory, found.state)
