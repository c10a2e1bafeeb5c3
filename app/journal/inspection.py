"""Checking a whole journal without changing it. Recovery and repair both start from what this finds."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec

from app.disk.durable_fs import DurableFS
from app.journal.failures import Damage
from app.journal.losses import LOSSES_NAME, Loss, read_losses
from app.journal.policy import RESERVED_LSNS_PER_START
from app.journal.scan import Extent, Scan, SegmentHead, guess_salt, read_head, scan_segment
from app.journal.segment import SEGMENT_HEAD_BYTES, Segment, list_segments, segment_path
from app.journal.segment_reader import SegmentReader
from app.journal.state import JournalState, read_state, state_path


class Inspection(msgspec.Struct):
    """state: as read, or as far as the segments tell where it is damaged.
    scans: the segments in use, oldest first. leftovers: trimmed, not yet unlinked. unused: never used.
    losses: what earlier repairs gave up. damages: what must be repaired before the journal can be opened.
    known_lsn: an LSN that was in use, whatever the files say.
    """

    state: JournalState
    is_new: bool
    scans: list[Scan]
    leftovers: list[Path]
    unused: list[Path]
    losses: list[Loss]
    damages: list[Damage]
    known_lsn: int = 0

    @property
    def last_lsn(self) -> int:
        """The highest LSN that any frame of this journal can have had."""
        # If the end of the journal was lost, it is unknown which LSNs were in use: leave them all out.
        lost = [loss.last_lsn + loss.open_ended * RESERVED_LSNS_PER_START for loss in self.losses]
        lost += [damage.last_lsn for damage in self.damages]
        read = [scan.segment.last_lsn for scan in self.scans]
        state: tuple[int, ...] = msgspec.structs.astuple(self.state)
        return max([*read, *lost, *state, self.known_lsn])


class _Candidate(msgspec.Struct):
    """A segment file above the trimmed LSN."""

    first_lsn: int
    path: Path
    file_bytes: int
    head: SegmentHead | None


def losses_of(losses: Sequence[Loss], path: Path) -> dict[int, Loss]:
    """Those of one file, by the offset at which they begin."""
    return {loss.start: loss for loss in losses if loss.file == path.name}


def inspect(fs: DurableFS, directory: Path, known_lsn: int = 0) -> Inspection:
    """Read everything and change nothing; bounded memory.

    known_lsn: an LSN known from elsewhere; a journal that ends before it has lost something.
    """
    damages: list[Damage] = []
    listed = list_segments(fs, directory)
    try:
        losses = read_losses(fs, directory)
    except ValueError as error:
        losses = []
        damages.append(_unreadable(directory / LOSSES_NAME, str(error)))
    try:
        read = read_state(fs, directory)
        reason = "missing" if read is None and listed else ""
    except ValueError as error:
        read, reason = None, str(error)
    if reason:
        newest = listed[-1][0] if listed else 0
        reason += "; it cannot be told whether segments before or after the present ones are lost"
        damages.append(_unreadable(state_path(directory), reason, newest))
    state = read if read is not None else _state_from(listed) if reason else JournalState()
    found = Inspection(state, read is None and not reason, [], [], [], losses, damages)
    found.leftovers = [path for lsn, path in listed if lsn <= state.trimmed_lsn]
    candidates = [_candidate(fs, lsn, path) for lsn, path in listed if lsn > state.trimmed_lsn]
    chain = _chain(_in_use(candidates, found), found)
    _scan_chain(fs, directory, chain, found)
    if found.last_lsn < known_lsn:
        reason = "the journal ends before an LSN that is known to have existed"
        damages.append(Damage(directory, 0, 0, found.last_lsn + 1, known_lsn, reason))
    return found


def _unreadable(path: Path, reason: str, last_lsn: int | None = None) -> Damage:
    """Of a file that holds no frames; with `last_lsn`: it may have told of LSNs above that."""
    known = last_lsn or 0
    return Damage(path, 0, 0, known + 1, known, reason, open_ended=last_lsn is not None)


def _state_from(listed: list[tuple[int, Path]]) -> JournalState:
    """The best that can be said when `state` is lost: nothing before or after these segments is missed."""
    if not listed:
        return JournalState()
    return JournalState(trimmed_lsn=listed[0][0] - 1, newest_lsn=listed[-1][0])


def _candidate(fs: DurableFS, first_lsn: int, path: Path) -> _Candidate:
    return _Candidate(first_lsn, path, fs.stat(path).size, read_head(fs, path))


def _in_use(candidates: list[_Candidate], found: Inspection) -> list[_Candidate]:
    """Leave out what was never used, and what is not what its name says."""
    used = []
    for candidate in candidates:
        head, newer = candidate.head, candidate.first_lsn > found.state.newest_lsn
        if newer and candidate.file_bytes <= SEGMENT_HEAD_BYTES:
            found.unused.append(candidate.path)
        elif head is not None and head.lsn != candidate.first_lsn:
            found.damages.append(_misplaced(candidate, "is a copy of another segment"))
        elif newer and head is None:
            found.damages.append(
                _misplaced(candidate, "is newer than the state file says, and is unreadable")
            )
        else:
            used.append(candidate)
    if used and used[-1].first_lsn > found.state.newest_lsn:
        path = state_path(used[-1].path.parent)
        found.damages.append(_unreadable(path, f"older than {used[-1].path.name}"))
        found.state = msgspec.structs.replace(found.state, newest_lsn=used[-1].first_lsn)
    return used


def _misplaced(candidate: _Candidate, reason: str) -> Damage:
    return Damage(candidate.path, 0, candidate.file_bytes, 1, 0, reason, misplaced=True)


def _chain(used: list[_Candidate], found: Inspection) -> list[_Candidate]:
    """Follow each segment's note of the one before it, from the newest back; oldest first."""
    chain: list[_Candidate] = []
    wanted: int | None = None
    for candidate in reversed(used):
        if wanted is not None and candidate.first_lsn > wanted:
            found.damages.append(_misplaced(candidate, "does not belong to the chain of segments"))
            continue
        chain.append(candidate)
        wanted = candidate.head.previous.first_lsn if candidate.head else None
    return chain[::-1]


def _missing(path: Path, first_lsn: int, last_lsn: int, found: Inspection, open_ended: bool = False) -> None:
    """Report a gap, unless a repair has already recorded it."""
    if first_lsn > last_lsn:
        return
    if not any(loss.first_lsn <= first_lsn and last_lsn <= loss.last_lsn for loss in found.losses):
        reason = "a segment is missing"
        found.damages.append(Damage(path, 0, 0, first_lsn, last_lsn, reason, open_ended=open_ended))


def _scan_chain(fs: DurableFS, directory: Path, chain: list[_Candidate], found: Inspection) -> None:
    before = found.state.trimmed_lsn
    floor = max(found.state.durable_lsn, found.state.newest_lsn)
    for candidate, after in itertools.zip_longest(chain, chain[1:]):
        head = candidate.head
        gap_end = candidate.first_lsn - 1 if head is None else head.previous.last_lsn
        _missing(segment_path(directory, before + 1), before + 1, gap_end, found)
        losses = losses_of(found.losses, candidate.path)
        reader = SegmentReader(fs, candidate.path)
        salt = head.salt if head else _salt_without_head(reader, candidate, after, losses)
        segment = Segment(
            candidate.path, candidate.first_lsn, salt, candidate.first_lsn - 1, 0, 0, candidate.file_bytes
        )
        scan = scan_segment(reader, segment, _extent(candidate, after, floor, found), losses)
        found.scans.append(scan)
        found.damages.extend(scan.damages)
        before = max(segment.last_lsn, *[damage.last_lsn for damage in scan.damages], 0)
    newest_lsn = found.state.newest_lsn
    if newest_lsn > found.state.trimmed_lsn and (not chain or chain[-1].first_lsn != newest_lsn):
        # Also what the segment before it seems to have as a torn tail, since nothing vouches for its end now.
        _missing(segment_path(directory, newest_lsn), before + 1, floor, found, open_ended=True)


def _extent(candidate: _Candidate, after: _Candidate | None, floor: int, found: Inspection) -> Extent:
    if after is None:
        is_newest = candidate.first_lsn == found.state.newest_lsn
        return Extent(candidate.file_bytes, None, floor if is_newest else candidate.first_lsn)
    link = after.head.previous if after.head else None
    if link is not None and link.first_lsn == candidate.first_lsn:
        return Extent(link.end, link.last_lsn, link.last_lsn)
    # What follows on this segment is missing or unreadable, and reported: this one is judged by itself.
    return Extent(candidate.file_bytes, None, candidate.first_lsn)


def _salt_without_head(
    reader: SegmentReader, candidate: _Candidate, after: _Candidate | None, losses: dict[int, Loss]
) -> int:
    if 0 in losses:
        return losses[0].salt
    below = after.first_lsn if after else 1 << 64
    return guess_salt(reader, candidate.first_lsn, below, candidate.file_bytes)
