"""The journal of this process as a store: append, sync, remember batch ids, pass on to the writer."""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import pyarrow as pa

from app.commit.batch_ids import DeduplicationWindow
from app.commit.payload import RowsFrameCodec
from app.commit.settle import SettledFrame
from app.commit.store import AcceptedRows, NotStored
from app.commit.tap import Watch
from app.commit.usage import Usage
from app.journal.failures import JournalFull
from app.kinds import Kind


class AppendResult(Protocol):
    """first_lsn: of the first frame appended; the others follow it one by one."""

    @property
    def first_lsn(self) -> int: ...
    @property
    def sync_seconds(self) -> float: ...


class AppendingJournal(Protocol):
    """The journal, in which a group becomes durable: `append` returns when it is."""

    def append(self, payloads: Sequence[Sequence[bytes | pa.Buffer]]) -> AppendResult: ...
    def mark(self) -> None: ...


class RowWriter(Protocol):
    """Takes rows that are durable; `put` never blocks. order: held from `append` to `put`."""

    @property
    def order(self) -> AbstractContextManager[bool]: ...
    def wait_for_room(self, seconds: float) -> None: ...
    def put(self, lsn: int, kind: Kind, rows: pa.RecordBatch) -> None: ...


class SettlingGroup(Protocol):
    """A group whose batch ids can be judged. accepted: rows by workspace and kind, after that."""

    @property
    def accepted(self) -> "Counter[tuple[int, Kind]]": ...
    def settle(self, window: DeduplicationWindow, codec: RowsFrameCodec) -> Sequence[SettledFrame]: ...


class JournalStore:
    """Durable when `journal.append` has returned; rows are passed to the writer after that.
    max_delay_s: how long a group is delayed while the writer is behind. So clients that wait for their
        answers are slowed to the writer's pace; rows that arrive faster wait in the journal.
    watch: called with rows once they are durable; must not block.
    """

    stores_at_once: Final = 1

    def __init__(
        self,
        journal: AppendingJournal,
        writer: RowWriter,
        window: DeduplicationWindow,
        accepted: AcceptedRows,
        max_delay_s: float,
        usage: Usage,
        watch: Watch,
    ) -> None:
        self._journal = journal
        self._writer = writer
        self._window = window
        self._accepted = accepted
        self._max_delay_s = max_delay_s
        self._watch = watch
        self._usage = usage
        self._codec = RowsFrameCodec()

    def wait_for_room(self) -> None:
        self._writer.wait_for_room(self._max_delay_s)

    def idle(self) -> None:
        """Writes a mark frame, which confirms the last group."""
        self._journal.mark()

    def store(self, group: SettlingGroup) -> float:
        frames = group.settle(self._window, self._codec)
        if not frames:
            return 0.0
        with self._writer.order:
            seconds = self._store(frames, group.accepted)
        for frame in frames:
            self._watch(frame.rows.kind, frame.rows.rows)
        return seconds

    def _store(self, frames: Sequence[SettledFrame], accepted: "Counter[tuple[int, Kind]]") -> float:
        try:
            appended = self._journal.append([frame.payload for frame in frames])
        except JournalFull as error:
            raise NotStored("disk_full", str(error)) from error
        # Before the writer has the rows: once they are published their frame may be trimmed, and only what
        # the window holds by then is saved.
        for lsn, frame in enumerate(frames, appended.first_lsn):
            self._window.remember(lsn, frame.receipts, frame.messages)
            self._usage.add(lsn, frame.rows.kind, frame.rows.rows, frame.rows.counts)
        with self._accepted.lock:
            self._accepted.rows.update(accepted)
            for lsn, frame in enumerate(frames, appended.first_lsn):
                self._writer.put(lsn, frame.rows.kind, frame.rows.rows)
        return appended.sync_seconds
