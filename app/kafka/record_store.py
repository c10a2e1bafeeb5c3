"""Kafka as a store: a group is durable when the delivery report of each of its records has come."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from app.commit.batch_ids import DeduplicationWindow
from app.commit.group import Group
from app.commit.settle import BatchOutcome, ProposedBatch, SeenIds, judge, repeated_rows
from app.commit.store import AcceptedRows, NotStored
from app.errors import Overloaded, RequestError
from app.kafka.client import KafkaUnavailable
from app.kafka.record import RecordCodec
from app.kafka.record_layout import Outgoing, RecordLayout


class Sends(Protocol):
    """Returns when all records are replicated. Raises KafkaUnavailable."""

    def send(self, records: Sequence[Outgoing]) -> object: ...


class RecordStore:
    """Kafka that does not answer is not a disk that has failed: the outcome of the group is unknown then, and
    the next group is tried.

    partition_of: where the rows of a workspace go. on_outage: told what kept a group from being replicated.
    """

    stores_at_once: Final = 1

    def __init__(
        self,
        sender: Sends,
        partition_of: Callable[[int], int],
        record_bytes_max: int,
        window: DeduplicationWindow,
        accepted: AcceptedRows,
        on_outage: Callable[[str], None],
    ) -> None:
        self._sender = sender
        self._partition_of = partition_of
        self._record_bytes_max = record_bytes_max
        self._window = window
        self._accepted = accepted
        self._on_outage = on_outage
        self._records = RecordCodec()
        self._groups = 0

    def wait_for_room(self) -> None:
        """`send` waits for Kafka."""

    def idle(self) -> None:
        """Kafka needs no word when nothing comes."""

    def store(self, group: Group) -> float:
        outcomes = judge(group.batches, self._window, SeenIds())
        layout = RecordLayout(
            group.batches,
            self._partition_of,
            self._record_bytes_max,
            self._records,
            repeated_rows(outcomes),
        )
        layout.add(group.rows(outcomes))
        group.conclude(outcomes, _refused(group.batches, outcomes, layout.refused))
        began = time.monotonic()
        if layout.outgoing:
            self._send(layout.outgoing)
        self._groups += 1
        for each in layout.outgoing:
            self._window.remember(self._groups, each.receipts, each.messages)
        with self._accepted.lock:
            self._accepted.rows.update(group.accepted)
        return time.monotonic() - began

    def _send(self, outgoing: Sequence[Outgoing]) -> None:
        try:
            self._sender.send(outgoing)
        except KafkaUnavailable as error:
            self._on_outage(str(error))
            raise NotStored("outcome_unknown", str(error)) from error


def _refused(
    batches: Sequence[ProposedBatch], outcomes: Sequence[BatchOutcome], too_large: Mapping[int, RequestError]
) -> dict[int, RequestError]:
    """Those that were too large, and those of the same group that were taken for their duplicates."""
    refused = dict(too_large)
    workspaces = {batches[index].workspace_id for index in too_large if batches[index].message_ids}
    ids = {(batches[index].workspace_id, batches[index].batch_id) for index in too_large}
    for index, (batch, outcome) in enumerate(zip(batches, outcomes, strict=True)):
        same_batch = not outcome.is_new and (batch.workspace_id, batch.batch_id) in ids
        same_messages = bool(outcome.repeated) and batch.workspace_id in workspaces
        if index not in too_large and (same_batch or same_messages):
            refused[index] = Overloaded("Send this batch again.", retry_after_s=1)
    return refused
