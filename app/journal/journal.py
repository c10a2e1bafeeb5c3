"""The journal: payloads in, sequence numbers out, durable in between."""

import contextlib
import errno
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from app.disk.durable_file import Buffer, SyncFailed
from app.disk.durable_fs import DurableFS
from app.journal.failures import FrameTooLarge, JournalFailed, JournalFull
from app.journal.frame import FrameType, encode_frame, payload_bytes
from app.journal.inspection import Inspection, losses_of
from app.journal.policy import RESERVED_LSNS_PER_START, JournalPolicy
from app.journal.recovery import JournalRecovery, recover
from app.journal.segment import Previous, Segment, SegmentWriter
from app.journal.segment_reader import JournalEntry, read_entries
from app.journal.state import write_state

T = TypeVar("T")

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Appended(msgspec.Struct, frozen=True, gc=False):
    """What one append did. The payloads have the LSNs first_lsn … last_lsn, in their order.

    bytes_written: to the segment, headers included. sync_seconds: of the fdatasync alone.
    """

    first_lsn: int
    last_lsn: int
    bytes_written: int
    sync_seconds: float


class Journal:
    """An open journal. `append` and `mark` from one thread, `trim` from another, properties from any.

    Use `Journal.open`. One journal per directory: the caller holds the lock of the data directory.
    """

    def __init__(
        self,
        fs: DurableFS,
        directory: Path,
        policy: JournalPolicy,
        found: Inspection,
        report: JournalRecovery,
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._policy = policy
        self._state = found.state
        self._losses = found.losses
        self._leftovers = found.leftovers
        self._sealed = deque(scan.segment for scan in found.scans)
        self._sealed_bytes = sum(segment.file_bytes for segment in self._sealed)
        self._active: SegmentWriter | None = None
        self._held: deque[JournalEntry] = deque()
        self._held_bytes = 0
        self._last_lsn = found.last_lsn
        self._first_lsn = found.last_lsn + 1
        self._durable_lsn = found.state.durable_lsn
        self._needs_mark = False
        self._failure: str | None = None
        self._lock = threading.Lock()
        self.recovery = report
        self._set_first_lsn()

    @staticmethod
    def open(
        fs: DurableFS,
        directory: Path,
        policy: JournalPolicy,
        known_lsn: int = 0,
        *,
        begins_above: bool = False,
    ) -> "Journal":
        """Recover what is there, then open a new segment.

        known_lsn: the highest LSN that the caller has seen before, as in its manifest: a journal that ends
        before it has lost something (a directory that was emptied or exchanged). Where appends are not synced
        that may be, and the journal goes on above it: see `recovery.lost_lsns`. begins_above: that LSN is of
        another journal, whose files this one has taken over.
        Raises JournalDamaged, with file, offset and LSN range; OSError, SyncFailed or JournalFailed when the
        disk fails.
        """
        found, report = recover(
            fs, directory, known_lsn, syncs=policy.acknowledge == "fsync" and not begins_above
        )
        journal = Journal(fs, directory, policy, found, report)
        if policy.acknowledge == "memory":
            journal._write_state(reserved_lsn=found.last_lsn + RESERVED_LSNS_PER_START)
        else:
            journal._open_segment()
        return journal

    @property
    def first_lsn(self) -> int:
        """Of the oldest frame that is still held; `last_lsn` + 1 when there is none."""
        return self._first_lsn

    @property
    def last_lsn(self) -> int:
        """The highest LSN in use, of whatever frame: everything appended so far is at or below it."""
        return self._last_lsn

    @property
    def durable_lsn(self) -> int:
        """Frames up to here are on stable storage."""
        return self._durable_lsn

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments, or held in memory, that a trim may still free."""
        active = self._active
        return self._sealed_bytes + self._held_bytes + (active.segment.end if active else 0)

    def append(self, payloads: Sequence[Sequence[Buffer]]) -> Appended:
        """Append one frame per payload; a payload is a sequence of buffers, written one after another.

        When this returns under `acknowledge = "fsync"`, all of them are on stable storage of this node, and
        every later `read` yields them until they are trimmed, across kills and power cuts.
        Raises FrameTooLarge and JournalFull with nothing appended (both may be tried again, the second when
        there is room), and JournalFailed, for this and every later call, when it is unknown what has reached
        the disk.
        """
        lengths = [payload_bytes(payload) for payload in payloads]
        if not lengths or max(lengths) > self._policy.max_frame_bytes:
            raise FrameTooLarge(
                f"an append takes 1 or more payloads of at most {self._policy.max_frame_bytes} bytes, "
                f"not {len(lengths)} of at most {max(lengths, default=0)}"
            )
        with self._lock:
            self._check()
            if self._active is None:
                return self._hold(payloads)
            if self._active.segment.end >= self._policy.segment_bytes:
                self._roll()
            return self._append(payloads, lengths)

    def _append(self, payloads: Sequence[Sequence[Buffer]], lengths: Sequence[int]) -> Appended:
        segment = self._writer.segment
        first = self._last_lsn + 1
        frames: list[Buffer] = []
        for lsn, (payload, length) in enumerate(zip(payloads, lengths, strict=True), first):
            frames += encode_frame(FrameType.ENTRY, segment.salt, lsn, self._durable_lsn, payload, length)
        last = first + len(lengths) - 1
        written = self._write(frames, last)
        segment.last_entry_lsn = last
        self._needs_mark = True
        if self._policy.acknowledge == "write":
            return Appended(first, last, written, 0.0)
        return Appended(first, last, written, self._datasync())

    def mark(self) -> None:
        """Cover the last append with evidence that it was synced. Call when idle; does nothing twice.

        Also skipped while the disk is full. Raises JournalFailed as `append` does.
        """
        with self._lock:
            self._check()
            self._mark()

    def _mark(self) -> None:
        if not self._needs_mark:
            return
        if self._durable_lsn < self._last_lsn:
            self._datasync()
        lsn, salt = self._last_lsn + 1, self._writer.segment.salt
        try:
            self._write(encode_frame(FrameType.MARK, salt, lsn, self._durable_lsn, [], 0), lsn)
        except JournalFull:
            return
        self._datasync()
        self._needs_mark = False

    def read(self, after_lsn: int) -> Iterator[JournalEntry]:
        """The entries above `after_lsn` that are appended by now, in order, one segment window in memory.

        Trim nothing above `after_lsn` meanwhile. Raises JournalDamaged when the disk has lost an entry since.
        """
        with self._lock:
            active = [self._active.segment] if self._active else []
            segments = [msgspec.structs.replace(segment) for segment in [*self._sealed, *active]]
            held = list(self._held)
        return self._iterate(segments, held, after_lsn)

    def _iterate(
        self, segments: list[Segment], held: list[JournalEntry], after_lsn: int
    ) -> Iterator[JournalEntry]:
        for segment in segments:
            if segment.last_entry_lsn > after_lsn:
                losses = losses_of(self._losses, segment.path)
                yield from read_entries(self._fs, segment, losses, after_lsn)
        yield from (entry for entry in held if entry.lsn > after_lsn)

    def trim(self, through_lsn: int) -> None:
        """Give up entries up to `through_lsn`: remove the segments that hold nothing above it.

        The active segment stays, whatever it holds; `roll` first to free that too. OSError: some files are
        still there, and the next trim tries again. JournalFailed: as for `append`.
        """
        with self._lock:
            self._check()
            while self._held and self._held[0].lsn <= through_lsn:
                self._held_bytes -= self._held.popleft().payload.nbytes
            doomed = list(itertools.takewhile(lambda s: s.last_entry_lsn <= through_lsn, self._sealed))
            if doomed:
                self._write_state(trimmed_lsn=doomed[-1].last_lsn)
                for segment in doomed:
                    self._sealed.popleft()
                    self._sealed_bytes -= segment.file_bytes
                    self._leftovers.append(segment.path)
            self._set_first_lsn()
            removable, self._leftovers = self._leftovers, []
        while removable:
            try:
                self._fs.unlink(removable[0])
            except FileNotFoundError:
                pass
            except OSError:
                with self._lock:
                    self._leftovers += removable
                raise
            del removable[0]

    def frees(self, through_lsn: int) -> bool:
        """Whether `trim` would give up a segment, and with it what only its frames say."""
        with self._lock:
            return bool(self._sealed) and self._sealed[0].last_entry_lsn <= through_lsn

    def roll(self) -> None:
        """Seal the active segment and open a new one, so that a trim can remove it.

        Without space or descriptors nothing happens: the active segment goes on.
        """
        with self._lock:
            self._check()
            if self._active is not None and self._active.segment.last_entry_lsn:
                self._roll()

    def close(self) -> None:
        """Cover the last append, record in `state` where the journal ends, and close the file. May be called
        twice."""
        with self._lock:
            if self._failure is not None:
                return
            try:
                if self._active is not None:
                    self._mark()
                    if self._durable_lsn < self._last_lsn:
                        self._datasync()
                    with contextlib.suppress(OSError):  # a full disk: it is additional evidence only
                        self._write_state(durable_lsn=self._durable_lsn)
                    self._guard(self._active.close)
            finally:
                self._failure = self._failure or "it is closed"

    @property
    def _writer(self) -> SegmentWriter:
        assert self._active is not None
        return self._active

    def _hold(self, payloads: Sequence[Sequence[Buffer]]) -> Appended:
        first = self._last_lsn + 1
        size = 0
        for lsn, payload in enumerate(payloads, first):
            entry = JournalEntry(lsn, memoryview(b"".join(payload)))
            size += entry.payload.nbytes
            self._held.append(entry)
        self._held_bytes += size
        self._last_lsn = first + len(payloads) - 1
        self._set_first_lsn()
        return Appended(first, self._last_lsn, size, 0.0)

    def _set_first_lsn(self) -> None:
        if self._sealed:
            self._first_lsn = self._sealed[0].first_lsn
        elif self._active is not None:
            self._first_lsn = self._active.segment.first_lsn
        else:
            self._first_lsn = self._held[0].lsn if self._held else self._last_lsn + 1

    def _roll(self) -> None:
        if self._durable_lsn < self._last_lsn:
            self._datasync()
        # A new segment is housekeeping: when it cannot be made, the old one grows, and appends go on.
        with contextlib.suppress(OSError):
            self._open_segment()

    def _open_segment(self) -> None:
        first = self._last_lsn + 1
        before = self._active.segment if self._active else self._sealed[-1] if self._sealed else None
        previous = before.as_previous if before else Previous()
        writer = self._guard(lambda: SegmentWriter(self._fs, self._directory, first, previous))
        try:
            self._write_state(newest_lsn=first, durable_lsn=first)
        except OSError:
            self._guard(writer.discard)
            raise
        old, self._active = self._active, writer
        self._last_lsn = self._durable_lsn = first
        self._needs_mark = False
        if old is not None:
            self._sealed.append(old.segment)
            self._sealed_bytes += old.segment.file_bytes
            self._guard(old.close)
        self._set_first_lsn()

    def _write_state(self, **changes: int) -> None:
        """OSError: the old state is on disk still."""
        state = msgspec.structs.replace(self._state, **changes)
        self._guard(lambda: write_state(self._fs, self._directory, state))
        self._state = state

    def _write(self, frames: Sequence[Buffer], last_lsn: int) -> int:
        try:
            written = self._writer.write(frames, last_lsn)
        except OSError as error:
            if error.errno not in _FULL:
                raise self._fail(error) from error
            try:
                self._guard(self._writer.cut_back)
            except OSError as second:
                raise self._fail(second) from second
            raise JournalFull(
                f"no space in {self._directory}; free some space, or wait for a flush"
            ) from error
        self._last_lsn = last_lsn
        return written

    def _datasync(self) -> float:
        """Seconds."""
        started = time.perf_counter()
        self._guard(self._writer.datasync)
        self._durable_lsn = self._last_lsn
        return time.perf_counter() - started

    def _guard(self, operation: Callable[[], T]) -> T:
        """Run it; a failed sync or clean-up inside it is the end of this journal."""
        try:
            return operation()
        except (SyncFailed, JournalFailed) as error:
            raise self._fail(error) from error

    def _fail(self, error: Exception) -> JournalFailed:
        self._failure = str(error)
        return JournalFailed(f"the journal in {self._directory} does not accept any more frames: {error}")

    def _check(self) -> None:
        if self._failure is not None:
            raise JournalFailed(
                f"the journal in {self._directory} does not accept any more frames: {self._failure}"
            )
