"""What a worker hands to the process that owns the journal: a decoded group, and what became of it.

One message each way. The worker lays its frames out as if no batch had been seen before; the owner of the
deduplication window settles that. Nearly always nothing was, and the payloads are journalled as they came.
Otherwise the frame is laid out anew without the rows of duplicates. To ask first and lay out after would take
two exchanges a group, and ids reserved in between for a worker that may die.
"""

from collections.abc import Sequence

import msgspec
import pyarrow as pa

from app.commit.batch_ids import DeduplicationWindow, RememberedBatch
from app.commit.frames import only_stored
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
    """A batch of which rows are to be stored. batch_id: empty where the batch has none, as is digest."""

    workspace_id: int
    batch_id: bytes
    digest: bytes
    rows: int


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


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """Of one batch. stored_before: rows of the same batch accepted earlier, None where it is new.

    reused: its id was used for another payload, and nothing of it is stored.
    """

    stored_before: int | None = None
    reused: bool = False

    @property
    def is_new(self) -> bool:
        return self.stored_before is None and not self.reused


class ReadProposal(msgspec.Struct, frozen=True):
    """A proposal and, frame by frame, what its payloads hold."""

    proposal: Proposal
    frames: Sequence[RowsFrame]


def read_proposal(proposal: Proposal) -> ReadProposal:
    """Unpacks the payloads: what can be done before it is the proposal's turn."""
    codec = RowsFrameCodec()
    return ReadProposal(proposal, [codec.decode(frame.payload) for frame in proposal.frames])


class SettledFrame(msgspec.Struct, frozen=True):
    """To be journalled; receipts: to be remembered once it is."""

    rows: DecodedRows
    receipts: Sequence[BatchReceipt]
    payload: Sequence[bytes | pa.Buffer]


class Settlement(msgspec.Struct, frozen=True):
    """outcomes: one per batch. frames: what is left to be stored."""

    outcomes: Sequence[Outcome]
    frames: Sequence[SettledFrame]


def settle(proposals: Sequence[ReadProposal], window: DeduplicationWindow) -> list[Settlement]:
    """Judges groups that are to be journalled together, of any workers, in their order.

    A batch id that occurs in two of them is stored with the first.
    """
    codec = RowsFrameCodec()
    seen: dict[tuple[int, bytes], RememberedBatch] = {}
    settled = []
    for read in proposals:
        proposal = read.proposal
        outcomes = [_outcome(batch, window, seen) for batch in proposal.batches]
        new = [outcome.is_new for outcome in outcomes]
        frames = [
            _settle_frame(frame, rows, proposal.batches, new, codec)
            for frame, rows in zip(proposal.frames, read.frames, strict=True)
        ]
        settled.append(Settlement(outcomes, [frame for frame in frames if frame is not None]))
    return settled


def _outcome(
    batch: ProposedBatch, window: DeduplicationWindow, seen: dict[tuple[int, bytes], RememberedBatch]
) -> Outcome:
    if not batch.batch_id:
        return Outcome()
    key = (batch.workspace_id, batch.batch_id)
    this = RememberedBatch(0, batch.digest, batch.rows)
    before = window.find(*key) or seen.setdefault(key, this)
    if before is this:
        return Outcome()
    if before.digest != batch.digest:
        return Outcome(reused=True)
    return Outcome(stored_before=before.rows)


def _settle_frame(
    frame: ProposedFrame,
    proposed: RowsFrame,
    batches: Sequence[ProposedBatch],
    new: Sequence[bool],
    codec: RowsFrameCodec,
) -> SettledFrame | None:
    rows = DecodedRows(frame.kind, proposed.rows, list(frame.owners), list(frame.counts))
    if all(new[owner] for owner in frame.owners):
        return SettledFrame(rows, proposed.header.receipts, [frame.payload])
    rows = only_stored(rows, new)
    if not rows.owners:
        return None
    receipts = [
        BatchReceipt(batch.workspace_id, batch.batch_id, batch.digest, count)
        for batch, count in zip((batches[owner] for owner in rows.owners), rows.counts, strict=True)
        if batch.batch_id
    ]
    return SettledFrame(rows, receipts, codec.encode(RowsHeader(rows.kind, receipts), rows.rows))


def answer_of(verdict: Verdict) -> Answer:
    if verdict.error is not None:
        return verdict.error
    assert verdict.kind is not None, "a verdict without an error names the kind"
    return Receipt(verdict.kind, verdict.accepted, verdict.rejected, verdict.refusals)


def compare(receipt: Receipt, this: RememberedBatch, before: RememberedBatch) -> Answer:
    if this.digest != before.digest:
        return BatchIdReused(
            "This batch id was used before for another payload; give each batch an id of its own."
        )
    return Receipt(receipt.kind, before.rows, receipt.rejected, receipt.refusals, duplicate=True)
