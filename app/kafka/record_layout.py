"""Rows as records: one a kind and Kafka partition, none too large for the topic."""

from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType

import msgspec

from app.commit.frames import divided, halves
from app.commit.message_ids import MessageReceipt, Repeated, without
from app.commit.payload import BatchReceipt
from app.commit.settle import ProposedBatch
from app.errors import BodyTooLarge
from app.kafka.record import RecordCodec, RecordHeader
from app.submission import DecodedRows


class Outgoing(msgspec.Struct, frozen=True):
    """A record to be sent, and the receipts in it."""

    partition: int
    value: bytes
    receipts: list[BatchReceipt]
    messages: list[MessageReceipt] = []


class RecordLayout:
    """refused: by index, batches whose rows do not fit into a record of `record_bytes_max`."""

    def __init__(
        self,
        batches: Sequence[ProposedBatch],
        partition_of: Callable[[int], int],
        record_bytes_max: int,
        records: RecordCodec,
        repeated: Repeated = MappingProxyType({}),
    ) -> None:
        self.outgoing: list[Outgoing] = []
        self.refused: dict[int, BodyTooLarge] = {}
        self._batches = batches
        self._partition_of = partition_of
        self._record_bytes_max = record_bytes_max
        self._records = records
        self._repeated = repeated

    def add(self, frames: Iterable[DecodedRows]) -> None:
        """Rows whose owners are indexes of `batches`."""
        for rows in frames:
            for partition, part in divided(rows, self._partition_of_owner):
                self._add_record(partition, part)

    def _partition_of_owner(self, owner: int) -> int:
        return self._partition_of(self._batches[owner].workspace_id)

    def _add_record(self, partition: int, rows: DecodedRows) -> None:
        header = self._header(rows)
        value = self._records.encode(header, rows.rows)
        if len(value) <= self._record_bytes_max:
            self.outgoing.append(Outgoing(partition, value, list(header.receipts), self._messages(rows)))
        elif len(rows.owners) == 1:
            self.refused[rows.owners[0]] = BodyTooLarge(
                f"The rows of this batch take {len(value)} bytes in the journal, which accepts at most "
                f"{self._record_bytes_max} at a time (max.message.bytes of the topic); send smaller batches."
            )
        else:
            for half in halves(rows):
                self._add_record(partition, half)

    def _messages(self, rows: DecodedRows) -> list[MessageReceipt]:
        return [
            MessageReceipt(batch.workspace_id, without(batch.message_ids, self._repeated.get(owner, ())))
            for owner in rows.owners
            if (batch := self._batches[owner]).message_ids
        ]

    def _header(self, rows: DecodedRows) -> RecordHeader:
        receipts, starts, start = [], [], 0
        for owner, count in zip(rows.owners, rows.counts, strict=True):
            batch = self._batches[owner]
            if batch.batch_id:
                receipts.append(BatchReceipt(batch.workspace_id, batch.batch_id, batch.digest, count))
                starts.append(start)
            start += count
        return RecordHeader(rows.kind, receipts, starts=starts)
