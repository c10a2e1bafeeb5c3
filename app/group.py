"""One group of batches that are committed together: from submissions to answers and journal payloads.

Nothing here waits or writes: a group is decoded, which needs nothing but its bodies, and judged, which needs
the batch ids of all groups before it. Then `payloads` is made durable, and only then the answers are given.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec
import pyarrow as pa

from app.decode.flatbuffer import decode_flatbuffers
from app.decode.json_rows import decode_json
from app.deduplication import DeduplicationWindow, RememberedBatch, digest
from app.errors import BatchIdReused, DecoderFailed, RequestError
from app.rows_frame import BatchReceipt, RowsFrameCodec, RowsHeader
from app.schema import Kind
from app.submission import Decoded, DecodedRows, DecodePolicy, RowRefusal, Submission, Verdict, WireFormat

log = logging.getLogger(__name__)

FRAME_ROWS_BYTES: Final = 64 << 20
"""Rows are divided among several frames beyond that; the rows of one batch are not."""

DECODERS: Final = {WireFormat.FLATBUFFER: decode_flatbuffers, WireFormat.JSON: decode_json}


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What the client is told: its accepted rows are durable, and appear exactly once in the files.

    duplicate: the same batch was accepted before; `accepted` is what was stored then.
    """

    kind: Kind
    accepted: int
    rejected: int = 0
    refusals: Sequence[RowRefusal] = ()
    duplicate: bool = False


Answer = Receipt | RequestError
Reply = Callable[[Answer], None]
Pending = tuple[Submission, Reply]


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
                    answer = _compare(answer, this, before)
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


def answer_of(verdict: Verdict) -> Answer:
    if verdict.error is not None:
        return verdict.error
    assert verdict.kind is not None, "a verdict without an error names the kind"
    return Receipt(verdict.kind, verdict.accepted, verdict.rejected, verdict.refusals)


def _compare(receipt: Receipt, this: RememberedBatch, before: RememberedBatch) -> Answer:
    if this.digest != before.digest:
        return BatchIdReused(
            "This batch id was used before for another payload; give each batch an id of its own."
        )
    return Receipt(receipt.kind, before.rows, receipt.rejected, receipt.refusals, duplicate=True)


def only_stored(rows: DecodedRows, stored: Sequence[bool]) -> DecodedRows:
    """The rows of those batches alone that are to be stored."""
    if all(stored[owner] for owner in rows.owners):
        return rows
    slices, owners, counts, start = [rows.rows.slice(0, 0)], [], [], 0
    for owner, count in zip(rows.owners, rows.counts, strict=True):
        if stored[owner]:
            slices.append(rows.rows.slice(start, count))
            owners.append(owner)
            counts.append(count)
        start += count
    return DecodedRows(rows.kind, pa.concat_batches(slices), owners, counts)


def frames_of(rows: DecodedRows) -> Iterator[DecodedRows]:
    """Divides rows that are too many for one frame, between batches."""
    # The first is an upper bound, and costs nothing.
    if rows.rows.get_total_buffer_size() <= FRAME_ROWS_BYTES or rows.rows.nbytes <= FRAME_ROWS_BYTES:
        if rows.owners:
            yield rows
        return
    middle = max(len(rows.owners) // 2, 1)
    if middle == len(rows.owners):
        yield rows
        return
    split = sum(rows.counts[:middle])
    for piece, owners, counts in (
        (rows.rows.slice(0, split), rows.owners[:middle], rows.counts[:middle]),
        (rows.rows.slice(split), rows.owners[middle:], rows.counts[middle:]),
    ):
        yield from frames_of(DecodedRows(rows.kind, piece, owners, counts))
