"""A worker's side of a proposal: from a decoded group to the message, and from outcomes to answers."""

from collections.abc import Sequence

from app.commit.batch_ids import digest
from app.commit.frames import frames_of
from app.commit.group import Group
from app.commit.payload import BatchReceipt, RowsFrameCodec, RowsHeader
from app.commit.settle import Outcome, Proposal, ProposedBatch, ProposedFrame, answer_of
from app.errors import BatchIdReused
from app.submission import Answer, Decoded, DecodedRows, Receipt, Verdict

NO_BATCH = ProposedBatch(0, b"", b"", 0)


class ProposedGroup:
    """proposal: what is sent, for a group that was decoded and not judged.

    Its batches are those of the group, in order; one that was refused has no rows.
    """

    def __init__(self, group: Group, codec: RowsFrameCodec) -> None:
        self.group = group
        self._answers: dict[int, Answer] = {}
        self._verdicts: dict[int, Verdict] = {}
        self._codec = codec
        batches = [NO_BATCH] * len(group.submissions)
        for members, decoded in group.decoded:
            for member, verdict in zip(members, decoded.verdicts, strict=True):
                submission, answer = group.submissions[member], answer_of(verdict)
                self._answers[member] = answer
                self._verdicts[member] = verdict
                if isinstance(answer, Receipt) and answer.accepted:
                    seen = digest(answer.kind, submission.body) if verdict.batch_id else b""
                    batches[member] = ProposedBatch(
                        submission.workspace_id, verdict.batch_id, seen, answer.accepted
                    )
        frames = [
            self._frame(members, rows, batches)
            for members, decoded in group.decoded
            for rows in _frames(decoded)
        ]
        self.proposal = Proposal(batches, frames)

    def answers(self, outcomes: Sequence[Outcome]) -> list[Answer]:
        """One per batch of the group, counted in `group.counts`; to be given once the frames are durable."""
        answers = [_concluded(self._answers[index], outcome) for index, outcome in enumerate(outcomes)]
        for index, answer in enumerate(answers):
            self.group.count(self._verdicts[index], answer)
            if isinstance(answer, Receipt) and not answer.duplicate and answer.accepted:
                workspace_id = self.group.submissions[index].workspace_id
                self.group.counts.accepted[workspace_id, answer.kind] += answer.accepted
        return answers

    def _frame(
        self, members: Sequence[int], rows: DecodedRows, batches: Sequence[ProposedBatch]
    ) -> ProposedFrame:
        owners = [members[owner] for owner in rows.owners]
        receipts = [
            BatchReceipt(batch.workspace_id, batch.batch_id, batch.digest, count)
            for batch, count in zip((batches[owner] for owner in owners), rows.counts, strict=True)
            if batch.batch_id
        ]
        pieces = self._codec.encode(RowsHeader(rows.kind, receipts), rows.rows)
        return ProposedFrame(rows.kind, owners, list(rows.counts), b"".join(pieces))


def _frames(decoded: Decoded) -> list[DecodedRows]:
    return [frame for rows in decoded.groups for frame in frames_of(rows)]


def _concluded(answer: Answer, outcome: Outcome) -> Answer:
    if isinstance(answer, Receipt) and outcome.reused:
        return BatchIdReused(
            "This batch id was used before for another payload; give each batch an id of its own."
        )
    if isinstance(answer, Receipt) and outcome.stored_before is not None:
        return Receipt(answer.kind, outcome.stored_before, answer.rejected, answer.refusals, duplicate=True)
    return answer
