"""A small journal with every bit flipped, every length cut, every sector zeroed, segments lost or doubled."""

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.journal.failures import Damage, JournalDamaged
from app.journal.inspection import inspect
from app.journal.journal import Journal
from app.journal.policy import JournalPolicy
from app.journal.repair import repair
from app.journal.segment import list_segments, segment_path
from app.journal.state import state_path
from tests.journal.workload import DIRECTORY, entries
from tests.support.simulated_disk import (
    Crash,
    Fault,
    SimulatedDisk,
    SimulatedFS,
    faults_of,
)
from tests.support.simulated_nodes import SECTOR_BYTES

Files = dict[Path, bytes]
THREE_SEGMENTS = JournalPolicy(segment_bytes=200)


@dataclass
class Layout:
    """The files of a journal and what it holds. closed: ended by a close, not by a kill after a mark."""

    files: Files
    entries: list[tuple[int, bytes]]
    closed: bool

    @property
    def segments(self) -> list[Path]:
        return sorted(path for path in self.files if path.suffix == ".segment")


@dataclass
class Corruption:
    """what: for the report. lost_max: entries it may cost. tail: it may look like a torn tail.

    blind: with the state file lost as well, a missing first segment looks like a trimmed one.
    """

    what: str
    files: Files
    lost_max: int
    tail: bool = False
    blind: bool = False


def files_of(disk: SimulatedDisk) -> Files:
    return {path: bytes(file.cached) for path, file in disk.files().items()}


def disk_of(files: Files) -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.mount().make_directory(DIRECTORY)
    for path, content in files.items():
        if path.parent == DIRECTORY:
            disk.overwrite(path, content)
    return disk


def three_segments(seed: int, closed: bool) -> Layout:
    """Three segments of a few small entries each; sizes by seed."""
    rng = random.Random(f"layout {seed}")
    disk = SimulatedDisk()
    fs = disk.mount()
    journal = Journal.open(fs, DIRECTORY, THREE_SEGMENTS)
    while len(list_segments(fs, DIRECTORY)) < 3:
        journal.append([[rng.randbytes(rng.randint(0, 20))] for _ in range(rng.randint(1, 2))])
        if rng.random() < 0.3:
            journal.mark()
    journal.append([[b"the last one"]])
    if closed:
        journal.close()
    else:
        journal.mark()
    return Layout(files_of(disk), entries(journal), closed)


def flips(layout: Layout) -> Iterator[Corruption]:
    for path, content in layout.files.items():
        for bit in range(len(content) * 8):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            yield Corruption(f"bit {bit} of {path.name}", layout.files | {path: bytes(changed)}, 1)


def truncations(layout: Layout) -> Iterator[Corruption]:
    for path, content in layout.files.items():
        tail = path == layout.segments[-1] and not layout.closed
        for size in range(len(content)):
            files = layout.files | {path: content[:size]}
            yield Corruption(f"{path.name} cut to {size}", files, len(layout.entries), tail)


def zeroed_sectors(layout: Layout) -> Iterator[Corruption]:
    for path, content in layout.files.items():
        tail = path == layout.segments[-1] and not layout.closed
        for start in range(0, len(content), SECTOR_BYTES):
            length = min(SECTOR_BYTES, len(content) - start)
            files = layout.files | {path: content[:start] + bytes(length) + content[start + length :]}
            yield Corruption(f"sector {start} of {path.name} zeroed", files, len(layout.entries), tail)


def lost_and_doubled(layout: Layout) -> Iterator[Corruption]:
    lost_max = len(layout.entries)
    last = int(layout.segments[-1].stem)
    for path in layout.files:
        rest = {each: content for each, content in layout.files.items() if each != path}
        yield Corruption(f"{path.name} missing", rest, lost_max)
    for path in layout.segments:
        for lsn in (int(path.stem) + 1, last + 1, last + 1000):
            doubled = layout.files | {segment_path(DIRECTORY, lsn): layout.files[path]}
            yield Corruption(f"{path.name} doubled as {lsn}", doubled, 0)
        for other in layout.segments:
            if other != path:
                replaced = layout.files | {other: layout.files[path]}
                yield Corruption(f"{other.name} replaced by {path.name}", replaced, lost_max)


def corruptions(layout: Layout) -> Iterator[Corruption]:
    """Every one; the few kinds first, then the many bits."""
    yield from lost_and_doubled(layout)
    yield from zeroed_sectors(layout)
    yield from truncations(layout)
    yield from flips(layout)


def combined(layout: Layout, several: list[Corruption]) -> Corruption:
    """All of them at once; where they meet in one file, the last one counts."""
    files = dict(layout.files)
    for corruption in several:
        gone = [path for path in layout.files if path not in corruption.files]
        files = {path: content for path, content in files.items() if path not in gone}
        files |= {path: it for path, it in corruption.files.items() if layout.files.get(path) != it}
    blind = files.get(state_path(DIRECTORY)) != layout.files[state_path(DIRECTORY)]
    what = " and ".join([corruption.what for corruption in several])
    return Corruption(what, files, len(layout.entries), blind=blind)


def is_damaged(corruption: Corruption) -> bool:
    """Whether a start refuses it."""
    return bool(inspect(disk_of(corruption.files).mount(), DIRECTORY).damages)


def judge(layout: Layout, corruption: Corruption, with_repair: bool) -> str | None:
    """What is wrong with how the journal takes this corruption; None when nothing is."""
    disk = disk_of(corruption.files)
    try:
        found = entries(Journal.open(disk.mount(), DIRECTORY, THREE_SEGMENTS))
    except JournalDamaged:
        if files_of(disk) != corruption.files:
            return "a refused start has changed files"
        return _judge_repair(layout, corruption, disk.mount()) if with_repair else None
    if found == layout.entries or (corruption.tail and found == layout.entries[: len(found)]):
        return None
    return f"silently yields {[lsn for lsn, _ in found]}"


def judge_killed_repair(layout: Layout, corruption: Corruption, rng: random.Random) -> tuple[int, str | None]:
    """Kill a repair at a random call, take the power away or not, repair again; (fired, what is wrong)."""
    disk = disk_of(corruption.files)
    counting = disk_of(corruption.files).mount()
    named = repair(counting, DIRECTORY)
    at = rng.randrange(len(counting.calls))
    fault = Fault(
        at, rng.choice([kind for kind in faults_of(counting.calls[at]) if kind.startswith("crash")])
    )
    with contextlib.suppress(Crash):
        repair(disk.mount(fault), DIRECTORY)
    if rng.random() < 0.5:
        disk = disk.after_power_loss(rng)
    return fault.fired, _judge_repair(layout, corruption, disk.mount(), named)


def _judge_repair(
    layout: Layout, corruption: Corruption, fs: SimulatedFS, named: Sequence[Damage] = ()
) -> str | None:
    damages = [*named, *repair(fs, DIRECTORY)]
    if not damages or repair(fs, DIRECTORY):
        return "repair does not settle"
    journal = Journal.open(fs, DIRECTORY, THREE_SEGMENTS)
    found = entries(journal)
    lost = [entry for entry in layout.entries if entry not in found]
    if [entry for entry in layout.entries if entry in found] != found:
        return "repair yields entries that nobody appended"
    if len(lost) > corruption.lost_max:
        return f"repair loses {len(lost)} entries"
    if not corruption.blind and not all(_is_named(lsn, damages) for lsn, _ in lost):
        return f"repair does not name all of {[lsn for lsn, _ in lost]}"
    appended = journal.append([[b"after"]])
    journal.close()
    again = entries(Journal.open(fs, DIRECTORY, THREE_SEGMENTS))
    return None if again == [*found, (appended.first_lsn, b"after")] else "a later start reads differently"


def _is_named(lsn: int, damages: list[Damage]) -> bool:
    return any(each.first_lsn <= lsn and (lsn <= each.last_lsn or each.open_ended) for each in damages)
