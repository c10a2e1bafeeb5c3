"""A group whose rows are laid out as one record a kind and Kafka partition, none too large for the topic."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec
import pyarrow as pa

from app.commit.batch_ids import DeduplicationWindow, digest
from app.commit.group import Group
from app.commit.payload import BatchReceipt, RowsFrameCodec
from app.errors import BodyTooLarge, Overloaded
from app.kafka.record import RecordCodec, RecordHeader
from app.submission import DecodedRows, Pending, Receipt, Submission, Verdict

UNCODED: Final = RowsFrameCodec()


class Outgoing(msgspec.Struct, frozen=True):
    """A record to be sent, and the receipts in it."""

    partition: int
    value: bytes
    receipts: list[BatchReceipt]


class PartitionedGroup(Group):
    """After `decode` and `judge`: `outgoing`, one a record.

    A batch whose rows do not fit into a record of `record_bytes_max` is refused alone.
    """

    def __init__(
        self,
        pending: list[Pending],
        partition_of: Callable[[int], int],
        record_bytes_max: int,
        records: RecordCodec,
    ) -> None:
        super().__init__(pending)
        self.outgoing: list[Outgoing] = []
        self._partition_of = partition_of
        self._record_bytes_max = record_bytes_max
        self._records = records
        self._refused: dict[int, BodyTooLarge] = {}
        self._batch_ids: dict[int, bytes] = {}

    def lay_out(self, window: DeduplicationWindow) -> None:
        """`judge`, with what each record can take."""
        for members, decoded in self._decoded:
            for member, verdict in zip(members, decoded.verdicts, strict=True):
                self._batch_ids[id(self.submissions[member])] = verdict.batch_id
        self.judge(window, UNCODED)
        if self._refused:
            self._answer_refused()

    def _answer_refused(self) -> None:
        """Those that were too large, and those of the same group that were taken for their duplicates."""
        keys = set()
        for index, submission in enumerate(self.submissions):
            error = self._refused.get(id(submission))
            if error is not None:
                self.answers[index] = error
                self.counts.refused_codes[error.code] += 1
                keys.add((submission.workspace_id, self._batch_ids[id(submission)]))
        for index, submission in enumerate(self.submissions):
            batch_id = self._batch_ids[id(submission)]
            answer = self.answers[index]
            duplicate = isinstance(answer, Receipt) and answer.duplicate
            reused = not isinstance(answer, Receipt | BodyTooLarge)
            if batch_id and (submission.workspace_id, batch_id) in keys and (duplicate or reused):
                self.answers[index] = Overloaded("Send this batch again.", retry_after_s=1)

    def _add_frame(
        self,
        submissions: Sequence[Submission],
        verdicts: Sequence[Verdict],
        rows: DecodedRows,
        codec: RowsFrameCodec,
    ) -> None:
        for partition, part in self._by_partition(submissions, rows):
            self._add_record(submissions, verdicts, partition, part)

    def _by_partition(
        self, submissions: Sequence[Submission], rows: DecodedRows
    ) -> Iterator[tuple[int, DecodedRows]]:
        divided: dict[int, tuple[list[pa.RecordBatch], list[int], list[int]]] = {}
        start = 0
        for owner, count in zip(rows.owners, rows.counts, strict=True):
            partition = self._partition_of(submissions[owner].workspace_id)
            slices, owners, counts = divided.setdefault(partition, ([], [], []))
            slices.append(rows.rows.slice(start, count))
            owners.append(owner)
            counts.append(count)
            start += count
        if len(divided) == 1:
            yield next(iter(divided)), rows
            return
        for partition, (slices, owners, counts) in divided.items():
            yield partition, DecodedRows(rows.kind, pa.concat_batches(slices), owners, counts)

    def _add_record(
        self,
        submissions: Sequence[Submission],
        verdicts: Sequence[Verdict],
        partition: int,
        rows: DecodedRows,
    ) -> None:
        header = _header(submissions, verdicts, rows)
        value = self._records.encode(header, rows.rows)
        if len(value) <= self._record_bytes_max:
            for owner, count in zip(rows.owners, rows.counts, strict=True):
                self.counts.accepted[submissions[owner].workspace_id, rows.kind] += count
            self.outgoing.append(Outgoing(partition, value, list(header.receipts)))
        elif len(rows.owners) == 1:
            self._refused[id(submissions[rows.owners[0]])] = BodyTooLarge(
                f"The rows of this batch take {len(value)} bytes in the journal, which takes "
                f"{self._record_bytes_max} at a time (max.message.bytes of the topic); send smaller batches."
            )
        else:
            for half in _halves(rows):
                self._add_record(submissions, verdicts, partition, half)


def _header(
    submissions: Sequence[Submission], verdicts: Sequence[Verdict], rows: DecodedRows
) -> RecordHeader:
    receipts, starts, start = [], [], 0
    for owner, count in zip(rows.owners, rows.counts, strict=True):
        submission, batch_id = submissions[owner], verdicts[owner].batch_id
        if batch_id:
            seen = digest(rows.kind, submission.body)
            receipts.append(BatchReceipt(submission.workspace_id, batch_id, seen, count))
            starts.append(start)
        start += count
    return RecordHeader(rows.kind, receipts, starts)


def _halves(rows: DecodedRows) -> Iterator[DecodedRows]:
    middle = len(rows.owners) // 2
    split = sum(rows.counts[:middle])
    yield DecodedRows(rows.kind, rows.rows.slice(0, split), rows.owners[:middle], rows.counts[:middle])
    yield DecodedRows(rows.kind, rows.rows.slice(split), rows.owners[middle:], rows.counts[middle:])
