"""One group of batches that are committed together: from submissions to answers and journal payloads.

Nothing here waits or writes: a group is decoded, which needs nothing but its bodies, and judged, which needs
the batch ids of all groups before it. Then `payloads` is made durable, and only then the answers are given.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
import pyarrow as pa

from app.commit.batch_ids import DeduplicationWindow, RememberedBatch, digest
from app.commit.frames import frames_of, only_stored
from app.commit.payload import BatchReceipt, RowsFrameCodec, RowsHeader
from app.commit.settle import answer_of, compare
from app.decode.flatbuffer.decode import decode_flatbuffers
from app.decode.json.decode import decode_json
from app.errors import DecoderFailed, RequestError
from app.kinds import Kind
from app.submission import (
    Answer,
    Decoded,
    DecodedRows,
    DecodePolicy,
    Pending,
    Receipt,
    Submission,
    Verdict,
    WireFormat,
)

log = logging.getLogger(__name__)


DECODERS: Final = {WireFormat.FLATBUFFER: decode_flatbuffers, WireFormat.JSON: decode_json}


class GroupCounts(msgspec.Struct):
    """What a group did, for the metrics. rejected_fields counts the refusals that are reported."""

    batches: int
    accepted: Counter[tuple[int, Kind]] = msgspec.field(default_factory=Counter)
    rejected_fields: Counter[str] = msgspec.field(default_factory=Counter)
    refused_codes: Counter[str] = msgspec.field(default_factory=Counter)
    duplicates: int = 0


class Group:
    """Batches in the order of their workspaces, so that the rows of one partition lie together.

    After `decode` and `judge`: `answers`, one per batch; `rows` and `payloads`, one per frame to be
    journalled, aligned; `receipts`, per frame, of the batches that carry an id.
    """

    def __init__(self, pending: list[Pending]) -> None:
        pending.sort(key=lambda entry: entry[0].workspace_id)
        self.submissions = [submission for submission, _ in pending]
        self.replies = [reply for _, reply in pending]
        self.answers: list[Answer] = []
        self.rows: list[DecodedRows] = []
        self.receipts: list[list[BatchReceipt]] = []
        self.payloads: list[list[bytes | pa.Buffer]] = []
        self.counts = GroupCounts(len(pending))
        self._decoded: list[tuple[list[int], Decoded]] = []
        self._seen: dict[tuple[int, bytes], RememberedBatch] = {}

    def decode(self, policy: DecodePolicy) -> None:
        for wire_format in WireFormat:
            members = [i for i, s in enumerate(self.submissions) if s.wire_format is wire_format]
            if members:
                submissions = [self.submissions[i] for i in members]
                self._decoded.append((members, _decode(wire_format, submissions, policy)))

    @property
    def decoded(self) -> Sequence[tuple[list[int], Decoded]]:
        """Until `judge`: indexes of batches that were decoded together, and what they became."""
        return self._decoded

    def judge(self, window: DeduplicationWindow, codec: RowsFrameCodec) -> None:
        """Answers the batches, and lays out the frames of those that are to be stored."""
        answers: list[Answer | None] = [None] * len(self.submissions)
        for members, decoded in self._decoded:
            submissions = [self.submissions[i] for i in members]
            judged = self._judge(submissions, decoded.verdicts, window)
            for member, answer in zip(members, judged, strict=True):
                answers[member] = answer
            stored = [isinstance(answer, Receipt) and not answer.duplicate for answer in judged]
            for rows in decoded.groups:
                for frame in frames_of(only_stored(rows, stored)):
                    self._add_frame(submissions, decoded.verdicts, frame, codec)
        self._decoded = []
        self.answers = [answer for answer in answers if answer is not None]

    def _judge(
        self, submissions: Sequence[Submission], verdicts: Sequence[Verdict], window: DeduplicationWindow
    ) -> list[Answer]:
        judged: list[Answer] = []
        for submission, verdict in zip(submissions, verdicts, strict=True):
            answer = answer_of(verdict)
            if isinstance(answer, Receipt) and verdict.batch_id and answer.accepted:
                key = (submission.workspace_id, verdict.batch_id)
                this = RememberedBatch(0, digest(answer.kind, submission.body), answer.accepted)
                before = window.find(*key) or self._seen.setdefault(key, this)
                if before is not this:
                    answer = compare(answer, this, before)
            self.count(verdict, answer)
            judged.append(answer)
        return judged

    def count(self, verdict: Verdict, answer: Answer) -> None:
        """Adds an answer to `counts`, but for the rows that are accepted."""
        if isinstance(answer, RequestError):
            self.counts.refused_codes[answer.code] += 1
        elif answer.duplicate:
            self.counts.duplicates += 1
        else:
            for refusal in verdict.refusals:
                self.counts.rejected_fields[refusal.field] += 1

    def _add_frame(
        self,
        submissions: Sequence[Submission],
        verdicts: Sequence[Verdict],
        rows: DecodedRows,
        codec: RowsFrameCodec,
    ) -> None:
        receipts = []
        for owner, count in zip(rows.owners, rows.counts, strict=True):
            submission = submissions[owner]
            self.counts.accepted[submission.workspace_id, rows.kind] += count
            batch_id = verdicts[owner].batch_id
            if batch_id:
                seen = digest(rows.kind, submission.body)
                receipts.append(BatchReceipt(submission.workspace_id, batch_id, seen, count))
        self.rows.append(rows)
        self.receipts.append(receipts)
        self.payloads.append(codec.encode(RowsHeader(rows.kind, receipts), rows.rows))


def _decode(wire_format: WireFormat, submissions: list[Submission], policy: DecodePolicy) -> Decoded:
    """Decodes together; if that fails in a way no input should cause, finds the batch that does it."""
    try:
        return DECODERS[wire_format](submissions, policy)
    except Exception:
        log.exception("A group of %d batches could not be decoded", len(submissions))
        if len(submissions) == 1:
            return Decoded([Verdict(error=DecoderFailed("The batch met a defect of the service."))], [])
    alone = [_decode(wire_format, [submission], policy) for submission in submissions]
    verdicts = [decoded.verdicts[0] for decoded in alone]
    groups = [
        DecodedRows(rows.kind, rows.rows, [index], rows.counts)
        for index, decoded in enumerate(alone)
        for rows in decoded.groups
    ]
    return Decoded(verdicts, groups)
