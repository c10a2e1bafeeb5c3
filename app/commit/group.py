"""One group of batches that are committed together, from submissions to answers and journal payloads.

Nothing here waits or writes: a group is decoded, which needs only its bodies, and settled, which needs the
batch ids of all previous groups. Then its frames are made durable, and only then are the answers sent.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from app.commit.batch_ids import DeduplicationWindow, digest
from app.commit.frames import frames_of, only_stored
from app.commit.payload import RowsFrameCodec
from app.commit.recent_refusals import PER_GROUP_MAX, RecentRefusal, batch_refused, rows_refused
from app.commit.refusals import refusal
from app.commit.settle import (
    NO_BATCH,
    REPEAT_ID,
    BatchOutcome,
    ProposedBatch,
    SeenIds,
    SettledFrame,
    all_new,
    answer_of,
    concluded,
    frame_of,
    judge,
    repeated_rows,
)
from app.commit.store import NotStored
from app.decode.flatbuffer.decode import decode_flatbuffers
from app.decode.group_room import GroupRoom
from app.decode.json.decode import decode_json
from app.errors import DecoderFailed, NoRoomInGroup, RequestError
from app.kinds import Kind
from app.submission import (
    HEADER_BATCH_ID,
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

INVALID_ROW: Final = "invalid_row"
"""The reason given for single refused rows."""


class GroupCounts(msgspec.Struct):
    """The results of a group, for the metrics. rejected_fields counts the reported refusals.

    refused: batches and rows refused, by workspace, reason (a code, or `invalid_row`) and field. repaired:
    rows, likewise. notes: the first refusals.
    """

    batches: int
    accepted: Counter[tuple[int, Kind]] = msgspec.field(default_factory=Counter)
    rejected_fields: Counter[str] = msgspec.field(default_factory=Counter)
    refused_codes: Counter[str] = msgspec.field(default_factory=Counter)
    duplicates: int = 0
    refused: Counter[tuple[int, str, str]] = msgspec.field(default_factory=Counter)
    repaired: Counter[tuple[int, str, str]] = msgspec.field(default_factory=Counter)
    notes: list[RecentRefusal] = []


class Group:
    """Batches in the order of their workspaces, so that the rows of one partition are adjacent.

    After `decode`: `batches`, by which a store judges each; `rows`, the rows to be stored. After `conclude`:
    `answers` and `counts`.
    """

    def __init__(self, pending: list[Pending], policy: DecodePolicy) -> None:
        pending.sort(key=lambda entry: entry[0].workspace_id)
        self.submissions = [submission for submission, _ in pending]
        self.replies = [reply for _, reply in pending]
        self.size = sum(map(body_bytes, self.submissions))
        self.postponed: list[Pending] = []
        self.counts = GroupCounts(len(pending))
        self.batches: list[ProposedBatch] = [NO_BATCH] * len(pending)
        self._policy = policy
        self._verdicts: list[Verdict] = []
        self._decoded: list[DecodedRows] = []
        self._answers: list[Answer] = []

    @property
    def accepted(self) -> "Counter[tuple[int, Kind]]":
        return self.counts.accepted

    def decode(self) -> None:
        room = GroupRoom()
        verdicts: list[Verdict | None] = [None] * len(self.submissions)
        for wire_format in WireFormat:
            members = [i for i, s in enumerate(self.submissions) if s.wire_format is wire_format]
            if not members:
                continue
            decoded = _decode(wire_format, [self.submissions[i] for i in members], self._policy, room)
            for member, verdict in zip(members, decoded.verdicts, strict=True):
                verdicts[member] = verdict
            for rows in decoded.groups:
                owners = [members[owner] for owner in rows.owners]
                self._decoded.append(DecodedRows(rows.kind, rows.rows, owners, rows.counts))
        self._verdicts = [verdict for verdict in verdicts if verdict is not None]
        if any(isinstance(verdict.error, NoRoomInGroup) for verdict in self._verdicts):
            self._postpone()
        self._answers = [answer_of(verdict) for verdict in self._verdicts]
        self.batches = [
            _batch(submission, verdict, answer)
            for submission, verdict, answer in zip(
                self.submissions, self._verdicts, self._answers, strict=True
            )
        ]

    def _postpone(self) -> None:
        """Leaves batches that do not fit to the next group."""
        stay = [not isinstance(verdict.error, NoRoomInGroup) for verdict in self._verdicts]
        place = list(itertools.accumulate(stay, initial=0))
        self.postponed = [
            (self.submissions[index], self.replies[index]) for index, stays in enumerate(stay) if not stays
        ]
        self._decoded = [
            DecodedRows(rows.kind, rows.rows, [place[owner] for owner in rows.owners], rows.counts)
            for rows in self._decoded
        ]
        self.submissions = list(itertools.compress(self.submissions, stay))
        self.replies = list(itertools.compress(self.replies, stay))
        self._verdicts = list(itertools.compress(self._verdicts, stay))
        self.counts.batches = len(self.replies)

    def rows(self, outcomes: Sequence[BatchOutcome] | None = None) -> Iterator[DecodedRows]:
        """The rows of new batches, or of all if there are no outcomes yet; none too large for a frame."""
        for rows in self._decoded:
            if outcomes is not None and not all_new(outcomes):
                new = [outcome.is_new for outcome in outcomes]
                rows = only_stored(rows, new, repeated_rows(outcomes))
            yield from frames_of(rows)

    def settle(self, window: DeduplicationWindow, codec: RowsFrameCodec) -> list[SettledFrame]:
        """Answers the batches, and lays out the frames of those that must be stored."""
        outcomes = judge(self.batches, window, SeenIds())
        self.conclude(outcomes)
        repeated = repeated_rows(outcomes)
        return [frame_of(rows, self.batches, codec, repeated) for rows in self.rows(outcomes)]

    def conclude(
        self, outcomes: Sequence[BatchOutcome], refused: Mapping[int, RequestError] = MappingProxyType({})
    ) -> None:
        """outcomes: one per batch. refused: by index, batches that the store cannot take."""
        for index, (verdict, outcome) in enumerate(zip(self._verdicts, outcomes, strict=True)):
            answer = refused.get(index) or concluded(self._answers[index], outcome)
            self._answers[index] = answer
            self._count(index, verdict, answer, len(outcome.repeated))

    def answers(self, sync_seconds: float) -> list[Answer]:
        return self._answers

    def refused(self, why: NotStored) -> list[Answer]:
        return [refusal(why)] * len(self.replies)

    def _count(self, index: int, verdict: Verdict, answer: Answer, repeated: int) -> None:
        workspace_id = self.submissions[index].workspace_id
        if isinstance(answer, RequestError):
            self.counts.refused_codes[answer.code] += 1
            self.counts.refused[workspace_id, answer.code, ""] += 1
            if len(self.counts.notes) < PER_GROUP_MAX:
                self.counts.notes.append(batch_refused(self.submissions[index], answer))
        elif answer.duplicate:
            self.counts.duplicates += 1
        else:
            if verdict.rejected or verdict.repaired:
                self._count_rows(workspace_id, verdict)
                if verdict.refusals and len(self.counts.notes) < PER_GROUP_MAX:
                    submission = self.submissions[index]
                    self.counts.notes.extend(rows_refused(submission, INVALID_ROW, verdict.refusals))
            if stored := answer.accepted - repeated:
                self.counts.accepted[workspace_id, answer.kind] += stored

    def _count_rows(self, workspace_id: int, verdict: Verdict) -> None:
        counts = self.counts
        for each in verdict.refusals:
            counts.rejected_fields[each.field] += 1
            counts.refused[workspace_id, INVALID_ROW, each.field] += 1
        if (unnamed := verdict.rejected - len(verdict.refusals)) > 0:
            counts.refused[workspace_id, INVALID_ROW, "other"] += unnamed
        for (reason, field), rows in verdict.repaired.items():
            counts.repaired[workspace_id, reason, field] += rows


def body_bytes(submission: Submission) -> int:
    return len(submission.body)


def workspace_of(submission: Submission) -> int:
    return submission.workspace_id


def _batch(submission: Submission, verdict: Verdict, answer: Answer) -> ProposedBatch:
    if not isinstance(answer, Receipt) or not answer.accepted:
        return NO_BATCH
    batch_id, seen = verdict.batch_id, b""
    if batch_id.startswith(REPEAT_ID):
        seen = submission.received_ms.to_bytes(8, "big")
    elif batch_id:
        seen = digest(answer.kind, submission.body)
    if batch_id.startswith(HEADER_BATCH_ID):
        # One key for events and for logs names two batches; a FlatBuffer's kind is known only now.
        batch_id = HEADER_BATCH_ID + answer.kind.value.encode() + b":" + batch_id[len(HEADER_BATCH_ID) :]
    return ProposedBatch(submission.workspace_id, batch_id, seen, answer.accepted, verdict.message_ids)


def _decode(
    wire_format: WireFormat, submissions: list[Submission], policy: DecodePolicy, room: GroupRoom
) -> Decoded:
    """Decodes all batches together; if that fails in a way that no input should cause, finds the batch
    responsible."""
    try:
        if wire_format is WireFormat.FLATBUFFER:
            return decode_flatbuffers(submissions, policy, room)
        return decode_json(submissions, policy)
    except Exception:
        log.exception("a group of %d batches could not be decoded", len(submissions))
        if len(submissions) == 1:
            return Decoded(
                [
                    Verdict(
                        error=DecoderFailed(
                            "The batch could not be processed because of a bug in the service."
                        )
                    )
                ],
                [],
            )
    alone = [_decode(wire_format, [submission], policy, room) for submission in submissions]
    verdicts = [decoded.verdicts[0] for decoded in alone]
    groups = [
        DecodedRows(rows.kind, rows.rows, [index], rows.counts)
        for index, decoded in enumerate(alone)
        for rows in decoded.groups
    ]
    return Decoded(verdicts, groups)
