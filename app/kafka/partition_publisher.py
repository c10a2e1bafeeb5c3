"""Records of one Kafka partition into data files, and entries of its publication log. Knows no client."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import pyarrow as pa

from app.commit.payload import BatchReceipt
from app.kafka.encoder import Encoded, Encoder
from app.kafka.entry import PublicationEntry
from app.kafka.publication_log import LogState, PublicationLog, note
from app.kafka.record import NotOurs, Record, RecordCodec, RowsRecord
from app.kafka.shared_place import SharedPlace
from app.kinds import Kind
from app.parquet.division import split
from app.parquet.partition import Rotation
from app.parquet.placing import Placing
from app.publish.buffer import Buffers
from app.publish.observer import WriterObserver
from app.publish.rotation import WriterPolicy

log = logging.getLogger(__name__)

ReadRange = Callable[[int, int], Iterable[Record]]
"""All records from an offset up to (not including) another one. Raises OSError, RecordsLost."""

OPEN_PARTITIONS_MAX: Final = 512
"""An entry is written when its rows go into this many files."""


class RecordsLost(Exception):
    """Kafka has lost records that are not in files yet, or has another topic by this name."""


class _Commit(msgspec.Struct):
    """An entry on its way; it is repeated with the same bytes until it is through."""

    entry: PublicationEntry
    encoded: Encoded
    appended: bool = False


class PartitionPublisher:
    """open → (take … commit) again and again. A writer that loses the partition throws this away.

    writer: a name that no other writer has, ever.
    """

    def __init__(
        self,
        log: PublicationLog,
        place: SharedPlace,
        encoder: Encoder,
        policy: WriterPolicy,
        writer: str,
        clock: Callable[[], int],
        observer: WriterObserver,
    ) -> None:
        self._log = log
        self._place = place
        self._encoder = encoder
        self._policy = policy
        self._writer = writer
        self._clock = clock
        self._observer = observer
        self._codec = RecordCodec()
        self._state: LogState | None = None
        self._commit: _Commit | None = None
        self._clear(0)

    def _clear(self, offset: int) -> None:
        self._buffers = Buffers()
        self._batches: dict[tuple[int, bytes], BatchReceipt] = {}
        self._dropped: list[tuple[int, int]] = []
        self._foreign: list[tuple[int, bytes, str]] = []
        self._position = offset
        self._asked = False
        self._oldest_ms: int | None = None
        self.rows = 0
        self.bytes = 0
        self.duplicates = 0

    @property
    def state(self) -> LogState:
        """Of the log; only once it is open."""
        assert self._state is not None, "the log was not opened"
        return self._state

    @property
    def position(self) -> int:
        """The next offset to be read."""
        return self._position

    def buffered_by(self) -> Counter[tuple[int, Kind]]:
        """Rows that were read and are in no file, by workspace and kind. From any thread, about."""
        found: Counter[tuple[int, Kind]] = Counter()
        for rows in self._buffers.snapshot():
            found[rows.partition.workspace_id, rows.partition.kind] += rows.rows
        return found

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest row came that is not in a file."""
        return self._oldest_ms

    def open(self, read: ReadRange, low: int, high: int, *, accept_loss: bool = False) -> None:
        """Load the log, and finish its last entry. low, high: what Kafka has of the partition.

        Raises OSError, RecordsLost, CommitLogDamaged.
        """
        state = self._log.load()
        if state.to > high:
            raise RecordsLost(
                f"{self._log.directory} is published up to offset {state.to}, but Kafka ends at {high}: the "
                "topic was recreated or has lost records; use a new topic and a new path"
            )
        if state.last is not None:
            self._finish(state.last, read)
        self._state = state
        self._clear(state.to)
        if low > state.to:
            self._note_loss(low, accept_loss)

    def _finish(self, entry: PublicationEntry, read: ReadRange) -> None:
        """Place the files of an entry whose writer may have died before it did. The same records, the same
        decisions: the same rows, under the same names."""
        if all(self._place.size(path) is not None for path in entry.paths):
            return
        self._clear(entry.start)
        dropped = set(entry.dropped)
        for record in read(entry.start, entry.to):
            if record.value is not None:
                frame = self._decoded(record.offset, record.value)
                if frame is None:
                    continue
                places = [at for at in range(len(frame.header.receipts)) if (record.offset, at) in dropped]
                self._buffer(record.offset, frame, places, _rotation_of(entry))
        encoded = self._encoded(entry.number)
        found = {path for path, _ in encoded.placements}
        if found != set(entry.paths):
            raise RecordsLost(
                f"{self._log.directory}: the records of entry {entry.number} produce different files"
            )
        self._place.create_all(encoded.placements)

    def _note_loss(self, low: int, accept_loss: bool) -> None:
        lost = low - self.state.to
        message = (
            f"{lost} records of {self._log.directory} (offsets {self.state.to} to {low - 1}) have expired in "
            "Kafka before they were published"
        )
        if not accept_loss:
            raise RecordsLost(
                f"{message}: their rows are lost. Increase the topic's retention; to continue without them, "
                "set journal.accept_loss"
            )
        entry = PublicationEntry(
            number=self.state.number + 1, writer=self._writer, start=self.state.to, to=low, lost=lost
        )
        self._log.append(self.state, entry)
        note(self.state, entry)
        self._clear(low)

    def take(self, record: Record) -> None:
        """The next record, in the order of the partition; one that was taken before is left out."""
        if record.offset < self._position:
            return
        self._position = record.offset + 1
        if record.value is None:
            self._asked = True
            return
        frame = self._decoded(record.offset, record.value)
        if frame is None:
            return
        seen = [at for at, receipt in enumerate(frame.header.receipts) if self._is_known(receipt)]
        self._dropped += [(record.offset, at) for at in seen]
        self.duplicates += len(seen)
        self._buffer(record.offset, frame, seen, self._policy.rotation)

    def _decoded(self, offset: int, value: bytes) -> RowsRecord | None:
        """None for a record that is not ours: it is kept as it is, and the partition goes on."""
        try:
            return self._codec.decode(value)
        except NotOurs as error:
            self._foreign.append((offset, value, str(error)))
        if self._oldest_ms is None:
            self._oldest_ms = self._clock()
        self.bytes += len(value)
        return None

    def _is_known(self, receipt: BatchReceipt) -> bool:
        """Remembers it if not. Another payload under a known id was acknowledged by a front end that could
        not know that, so its rows stay."""
        key = receipt.workspace_id, receipt.batch_id
        known = self.state.window.find(*key) or self._batches.get(key)
        if known is None:
            self._batches[key] = receipt
            return False
        return known.digest == receipt.digest

    def _buffer(self, offset: int, frame: RowsRecord, dropped: list[int], rotation: Rotation) -> None:
        now_ms = self._clock()
        rows = _without(frame, dropped)
        if rows.num_rows and self._oldest_ms is None:
            self._oldest_ms = now_ms
        for partition, some in split(rows, frame.header.kind, rotation, Placing()):
            buffer = self._buffers.open(partition, offset, now_ms, now_ms)
            self.bytes += buffer.add(offset, some)
            self.rows += some.num_rows

    def due(self, bytes_max: int) -> bool:
        """Whether what was taken is to be published now. bytes_max: what may be buffered here."""
        if self._commit is not None or self._asked:
            return True
        if self._oldest_ms is None:
            return False
        if self.bytes >= bytes_max or len(self._buffers) + len(self._foreign) >= OPEN_PARTITIONS_MAX:
            return True
        if any(rows.bytes >= self._policy.max_file_bytes for rows in self._buffers):
            return True
        return self._clock() - self._oldest_ms >= self._policy.flush_interval_ms

    def commit(self) -> None:
        """Publish all that was taken. Raises PartitionLost; OSError: call it again before you take."""
        began = time.monotonic()
        if self._commit is None:
            if self._position == self.state.to:
                return
            self._commit = self._prepare()
        commit = self._commit
        if not commit.appended:
            self._log.append(self.state, commit.entry)
            commit.appended = True
        self._place.create_all(commit.encoded.placements)
        note(self.state, commit.entry)
        self._commit = None
        self._clear(commit.entry.to)
        self._observe(commit.encoded, time.monotonic() - began)
        self._log.compact(self.state)

    def _prepare(self) -> _Commit:
        number = self.state.number + 1
        encoded = self._encoded(number)
        entry = PublicationEntry(
            number=number,
            writer=self._writer,
            start=self.state.to,
            to=self._position,
            files=encoded.files,
            quarantined=encoded.quarantined,
            batches=list(self._batches.values()),
            dropped=self._dropped,
            foreign=encoded.foreign,
        )
        return _Commit(entry, encoded)

    def _encoded(self, number: int) -> Encoded:
        encoded = Encoded()
        for rows in sorted(self._buffers, key=lambda rows: rows.partition):
            self._encoder.encode(encoded, rows, number)
        for offset, value, error in self._foreign:
            self._encoder.keep(encoded, offset, value, error)
        return encoded

    def _observe(self, encoded: Encoded, seconds: float) -> None:
        for file in encoded.files:
            self._observer.rows_written(file.kind, file.rows)
            self._observer.bytes_written(file.bytes)
            self._observer.file_created()
        if encoded.foreign:
            first = encoded.foreign[0]
            log.error(
                "%d records of %s were not written by this service and are kept in its quarantine; the "
                "first has offset %d: %s",
                len(encoded.foreign),
                self._log.directory,
                first.offset,
                first.error,
            )
            self._observer.records_foreign(len(encoded.foreign))
        self._observer.flush_seconds(seconds)


def _rotation_of(entry: PublicationEntry) -> Rotation:
    """What it was made with, which may have been configured anew since."""
    partitions = [file.partition for file in entry.files] + [rows.partition for rows in entry.quarantined]
    return partitions[0].rotation if partitions else Rotation.DAILY


def _without(frame: RowsRecord, dropped: list[int]) -> pa.RecordBatch:
    """The record's rows without those of some of its receipts."""
    if not dropped:
        return frame.rows
    header, pieces, start = frame.header, [], 0
    for at in dropped:
        pieces.append(frame.rows.slice(start, header.starts[at] - start))
        start = header.starts[at] + header.receipts[at].rows
    pieces.append(frame.rows.slice(start))
    return pa.concat_batches(pieces)
