"""Decides which batches are new by their ids, and lays out the remaining frames, for a group or a worker's
proposal.

A worker and the process that owns the journal exchange one message each way: a decoded group, and its
outcome. The worker lays out its frames as if no batch had been seen before; the owner of the deduplication
window then settles this. Nearly always there are no duplicates, and the payloads are journalled unchanged.
Otherwise the frame is rebuilt without the rows of duplicates. Asking first would take two exchanges per
group, and ids would have to be reserved in between for a worker that may die.
"""

from collections import defaultdict
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

import msgspec
import pyarrow as pa

from app.commit.batch_ids import DeduplicationWindow, RememberedBatch
from app.commit.frames import only_stored
from app.commit.message_ids import MessageReceipt, Repeated, without
from app.commit.payload import BatchReceipt, RowsFrame, RowsFrameCodec, RowsHeader
from app.errors import BatchIdReused
from app.kinds import Kind
from app.submission import (
    Answer,
    DecodedRows,
    Receipt,
    Verdict,
)


class ProposedBatch(msgspec.Struct, frozen=True, array_like=True):
    """A batch with rows to be stored. batch_id: empty if the batch has none, as is digest.

    message_ids: of each of the rows, in the form of app.commit.message_ids; empty if no row has one.
    """

    workspace_id: int
    batch_id: bytes
    digest: bytes
    rows: int
    message_ids: bytes = b""


REPEAT_ID: Final = b"repeat:"
"""The prefix of ids made from the bytes of a batch without an id, by which it is recognised for a while."""

NO_BATCH: Final = ProposedBatch(0, b"", b"", 0)
"""The id that stands for a batch that was refused or had no accepted rows."""


class ProposedFrame(msgspec.Struct, frozen=True, array_like=True):
    """A journal payload as RowsFrameCodec lays it out. owners: indexes of the batches whose rows follow each
    other in it, counts: how many rows each has."""

    kind: Kind
    owners: Sequence[int]
    counts: Sequence[int]
    payload: bytes


class Proposal(msgspec.Struct, frozen=True, array_like=True):
    """One group, batches in the order of their owners' indexes."""

    batches: Sequence[ProposedBatch]
    frames: Sequence[ProposedFrame]

    @property
    def payload_bytes(self) -> int:
        return sum(len(frame.payload) for frame in self.frames)


class BatchOutcome(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of one batch. stored_before: rows of the same batch accepted earlier, None if it is new.

    reused: whether its id was used for another payload, and it is not stored.
    repeated: indices of accepted rows that are already stored and are left out.
    """

    stored_before: int | None = None
    reused: bool = False
    repeated: Sequence[int] = ()

    @property
    def is_new(self) -> bool:
        return self.stored_before is None and not self.reused


NEW: Final = BatchOutcome()
"""The outcome of nearly every batch."""


class ReadProposal(msgspec.Struct, frozen=True):
    """A proposal and, frame by frame, the contents of its payloads."""

    proposal: Proposal
    frames: Sequence[RowsFrame]


def read_proposal(proposal: Proposal) -> ReadProposal:
    """Decodes the payloads, which can be done before it is the proposal's turn."""
    codec = RowsFrameCodec()
    return ReadProposal(proposal, [codec.decode(frame.payload) for frame in proposal.frames])


class SeenIds:
    """Ids of batches and messages that are stored together with those being judged."""

    def __init__(self) -> None:
        self.batches: dict[tuple[int, bytes], RememberedBatch] = {}
        self.messages: defaultdict[int, set[bytes]] = defaultdict(set)


class SettledFrame(msgspec.Struct, frozen=True):
    """A payload to be journalled; receipts: to be remembered once it is."""

    rows: DecodedRows
    receipts: Sequence[BatchReceipt]
    payload: Sequence[bytes | pa.Buffer]
    messages: Sequence[MessageReceipt] = ()


class Settlement(msgspec.Struct, frozen=True):
    """outcomes: one per batch. frames: those that remain to be stored."""

    outcomes: Sequence[BatchOutcome]
    frames: Sequence[SettledFrame]


def judge(batches: Sequence[ProposedBatch], window: DeduplicationWindow, seen: SeenIds) -> list[BatchOutcome]:
    """One outcome per batch. Adds to `seen`."""
    return [
        _outcome(batch, window, seen) if batch.batch_id or batch.message_ids else NEW for batch in batches
    ]


def settle(proposals: Sequence[ReadProposal], window: DeduplicationWindow) -> list[Settlement]:
    """Judges groups of any workers that will be journalled together, in order.

    A batch id that occurs in two of them is stored with the first.
    """
    codec = RowsFrameCodec()
    seen = SeenIds()
    settled = []
    for read in proposals:
        proposal = read.proposal
        outcomes = judge(proposal.batches, window, seen)
        frames = [
            _settle_frame(frame, rows, proposal.batches, outcomes, codec)
            for frame, rows in zip(proposal.frames, read.frames, strict=True)
        ]
        settled.append(Settlement(outcomes, [frame for frame in frames if frame is not None]))
    return settled


def all_new(outcomes: Sequence[BatchOutcome]) -> bool:
    """Whether certainly all batches must be stored, with all their rows."""
    return all(outcome is NEW for outcome in outcomes)


def repeated_rows(outcomes: Sequence[BatchOutcome]) -> dict[int, Sequence[int]]:
    """By batch, the indices of its rows that are left out."""
    return {index: outcome.repeated for index, outcome in enumerate(outcomes) if outcome.repeated}


def frame_of(
    rows: DecodedRows,
    batches: Sequence[ProposedBatch],
    codec: RowsFrameCodec,
    repeated: Repeated = MappingProxyType({}),
) -> SettledFrame:
    """The frame of these rows; `rows.owners` are indexes of `batches`. repeated: the rows left out."""
    receipts = [
        BatchReceipt(batch.workspace_id, batch.batch_id, batch.digest, count)
        for batch, count in zip((batches[owner] for owner in rows.owners), rows.counts, strict=True)
        if batch.batch_id
    ]
    messages = [
        MessageReceipt(batches[owner].workspace_id, without(ids, repeated.get(owner, ())))
        for owner in rows.owners
        if (ids := batches[owner].message_ids)
    ]
    header = RowsHeader(rows.kind, receipts, messages=messages)
    return SettledFrame(rows, receipts, codec.encode(header, rows.rows), messages)


def answer_of(verdict: Verdict) -> Answer:
    """The answer for a new batch, once it is durable."""
    if verdict.error is not None:
        return verdict.error
    assert verdict.kind is not None, "a verdict without an error names the kind"
    return Receipt(verdict.kind, verdict.accepted, verdict.rejected, verdict.refusals)


def concluded(answer: Answer, outcome: BatchOutcome) -> Answer:
    """The answer for a batch, new or not."""
    if outcome is NEW or not isinstance(answer, Receipt):
        return answer
    if outcome.is_new:
        if outcome.repeated and len(outcome.repeated) == answer.accepted:
            return Receipt(answer.kind, answer.accepted, answer.rejected, answer.refusals, duplicate=True)
        return answer
    if outcome.stored_before is None:
        return BatchIdReused(
            "This batch id was used before for another payload; give each batch an id of its own."
        )
    return Receipt(answer.kind, outcome.stored_before, answer.rejected, answer.refusals, duplicate=True)


def _outcome(batch: ProposedBatch, window: DeduplicationWindow, seen: SeenIds) -> BatchOutcome:
    if batch.batch_id:
        key = (batch.workspace_id, batch.batch_id)
        this = RememberedBatch(0, batch.digest, batch.rows)
        before = seen.batches.get(key) or window.find(*key)
        if before is not None and batch.batch_id.startswith(REPEAT_ID):
            if _is_within(window.repeat_window_ms, before.digest, batch.digest):
                return BatchOutcome(stored_before=before.rows)
        elif before is not None:
            same = before.digest == batch.digest
            return BatchOutcome(stored_before=before.rows) if same else BatchOutcome(reused=True)
        seen.batches[key] = this
    if batch.message_ids:
        seen_messages = seen.messages[batch.workspace_id]
        return BatchOutcome(
            repeated=window.messages.repeated(batch.workspace_id, batch.message_ids, seen_messages)
        )
    return NEW


def _is_within(window_ms: int, before: bytes, now: bytes) -> bool:
    """The digests of batches whose id begins with REPEAT_ID, by time of receipt in ms."""
    return int.from_bytes(now, "big") - int.from_bytes(before, "big") <= window_ms


def _settle_frame(
    frame: ProposedFrame,
    proposed: RowsFrame,
    batches: Sequence[ProposedBatch],
    outcomes: Sequence[BatchOutcome],
    codec: RowsFrameCodec,
) -> SettledFrame | None:
    rows = DecodedRows(frame.kind, proposed.rows, list(frame.owners), list(frame.counts))
    if all(outcomes[owner].is_new and not outcomes[owner].repeated for owner in frame.owners):
        header = proposed.header
        return SettledFrame(rows, header.receipts, [frame.payload], header.messages)
    repeated = repeated_rows(outcomes)
    rows = only_stored(rows, [outcome.is_new for outcome in outcomes], repeated)
    return frame_of(rows, batches, codec, repeated) if rows.owners else None
