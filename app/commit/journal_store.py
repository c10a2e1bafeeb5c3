"""The journal of this process as a store: append, sync, remember batch ids, hand over to the writer."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

import pyarrow as pa

from app.commit.batch_ids import DeduplicationWindow
from app.commit.payload import RowsFrameCodec
from app.commit.settle import SettledFrame
from app.commit.store import AcceptedRows, NotStored
from app.commit.usage import Usage
from app.journal.failures import JournalFull
from app.kinds import Kind


class Appended(Protocol):
    """first_lsn: of the first frame appended; the others follow it one by one."""

    @property
    def first_lsn(self) -> int: ...
    @property
    def sync_seconds(self) -> float: ...


class Journal(Protocol):
    """Where a group becomes durable: `append` returns when it is."""

    def append(self, payloads: Sequence[Sequence[bytes | pa.Buffer]]) -> Appended: ...
    def mark(self) -> None: ...


class Writer(Protocol):
    """Takes rows that are durable; never blocks. buffered_bytes: what it holds of them."""

    @property
    def buffered_bytes(self) -> int: ...
    def put(self, lsn: int, kind: Kind, rows: pa.RecordBatch) -> None: ...


class Settled(Protocol):
    """A group whose batch ids can be judged. accepted: rows by workspace and kind, once they were."""

    @property
    def accepted(self) -> "Counter[tuple[int, Kind]]": ...
    def settle(self, window: DeduplicationWindow, codec: RowsFrameCodec) -> Sequence[SettledFrame]: ...


class JournalStore:
    """Durable when `journal.append` has returned; rows are handed to the writer after that.

    max_buffered_bytes: no group is taken while the writer holds more. Admission refuses long before, but what
    it has let in can grow many times when it is decoded: rows may share bytes of their body.
    """

    stores_at_once: Final = 1

    def __init__(
        self,
        journal: Journal,
        writer: Writer,
        window: DeduplicationWindow,
        accepted: AcceptedRows,
        max_buffered_bytes: int,
        usage: Usage,
    ) -> None:
        self._journal = journal
        self._writer = writer
        self._window = window
        self._accepted = accepted
        self._max_buffered_bytes = max_buffered_bytes
        self._usage = usage
        self._codec = RowsFrameCodec()

    @property
    def has_room(self) -> bool:
        return self._writer.buffered_bytes <= self._max_buffered_bytes

    def idle(self) -> None:
        """A mark frame vouches for the last group."""
        self._journal.mark()

    def store(self, group: Settled) -> float:
        frames = group.settle(self._window, self._codec)
        if not frames:
            return 0.0
        try:
            appended = self._journal.append([frame.payload for frame in frames])
        except JournalFull as error:
            raise NotStored("disk_full", str(error)) from error
        # Before the writer has the rows: once they are published their frame may be trimmed, and only what
        # the window holds by then is saved.
        for lsn, frame in enumerate(frames, appended.first_lsn):
            self._window.remember(lsn, frame.receipts, frame.messages)
            self._usage.add(lsn, frame.rows.kind, frame.rows.rows)
        with self._accepted.lock:
            self._accepted.rows.update(group.accepted)
            for lsn, frame in enumerate(frames, appended.first_lsn):
                self._writer.put(lsn, frame.rows.kind, frame.rows.rows)
        return appended.sync_seconds
