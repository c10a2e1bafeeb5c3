"""JSON batches to rows: the bodies of many submissions, decoded together, column by column."""

from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.decode.json.bodies import BodyReader, Reading, row_numbers
from app.decode.json.columns import ColumnTaker
from app.decode.json.events import EventRow, event_columns
from app.decode.json.logs import LogRow, log_columns
from app.decode.json.refusals import JsonRefusals
from app.decode.json.repeated import find_repeated
from app.decode.json.snapshots import SnapshotRow, snapshot_columns
from app.errors import BodyTooLarge, RequestError
from app.kinds import ID_BYTES, Kind
from app.schema import SCHEMAS
from app.submission import Decoded, DecodedRows, DecodePolicy, Messages, RowRefusal, Submission, Verdict

PIECE_BYTES: Final = 256 << 10
"""Bytes of bodies that are decoded together: enough to share the cost of a call, few enough that their rows
are still in the processor's cache when they are turned into columns."""

_LONGEST_DEFAULTS_BYTES: Final = 64
"""More than a row can hold besides the contents of its body: default words, braces of payloads."""


class _KindReader:
    """How the bodies of one kind are read, and which columns its rows fill."""

    def __init__(self, row_type: type[msgspec.Struct], columns: Callable[..., dict[str, Any]]) -> None:
        self.read: Final = BodyReader(row_type).read
        self.take: Final = ColumnTaker(row_type).take
        self.columns: Final = columns


_READERS: Final = MappingProxyType(
    {
        Kind.EVENTS: _KindReader(EventRow, event_columns),
        Kind.LOGS: _KindReader(LogRow, log_columns),
        Kind.SNAPSHOTS: _KindReader(SnapshotRow, snapshot_columns),
    }
)


def decode_json(submissions: Sequence[Submission], policy: DecodePolicy) -> Decoded:
    """The rows of JSON submissions, each of which says its `kind`.

    A row that cannot be read, or has a wrong value, is refused by itself, identified by its line (JSON Lines,
    blank lines counted) or element (array). A body that cannot be read as a whole gets a MalformedBatch, one
    with more than the policy allows a BodyTooLarge, as its verdict's error; no other submission is affected
    by either. Never raises because of the contents of a body.
    """
    verdicts = [Verdict(kind=submission.kind, batch_id=submission.batch_id) for submission in submissions]
    groups = []
    for kind in Kind:
        owners = [index for index, submission in enumerate(submissions) if submission.kind is kind]
        pieces = [
            piece
            for some in _in_pieces(owners, submissions)
            if (piece := _Piece(kind, submissions, some, verdicts, policy).decode()) is not None
        ]
        if pieces:
            groups.append(_concatenate(kind, pieces))
    for submission, verdict in zip(submissions, verdicts, strict=True):
        if submission.messages is not None and verdict.error is None:
            _number_messages(verdict, submission.messages)
    return Decoded(verdicts, groups)


def _number_messages(verdict: Verdict, messages: Messages) -> None:
    """Refusals by the numbers of the client's messages, including those that never became rows.

    All of them are listed, since some protocols answer for each message.
    """
    if messages.ids:
        verdict.message_ids = _without(messages.ids, {refusal.row - 1 for refusal in verdict.refusals})
    named = [
        RowRefusal(messages.numbers[refusal.row - 1], refusal.field, refusal.message)
        for refusal in verdict.refusals
    ]
    verdict.refusals = sorted([*named, *messages.refused], key=lambda refusal: refusal.row)
    verdict.rejected += len(messages.refused)


def _without(ids: bytes, rows: set[int]) -> bytes:
    """The ids without those of some rows."""
    if not rows:
        return ids
    size = Messages.ID_BYTES
    return b"".join(ids[row * size : (row + 1) * size] for row in range(len(ids) // size) if row not in rows)


def _in_pieces(owners: list[int], submissions: Sequence[Submission]) -> Iterator[list[int]]:
    """Runs of owners whose bodies are about PIECE_BYTES together; a body is never divided."""
    piece: list[int] = []
    size = 0
    for owner in owners:
        piece.append(owner)
        size += len(submissions[owner].body)
        if size >= PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _concatenate(kind: Kind, pieces: list[DecodedRows]) -> DecodedRows:
    if len(pieces) == 1:
        return pieces[0]
    return DecodedRows(
        kind,
        pa.concat_batches([piece.rows for piece in pieces]),
        [owner for piece in pieces for owner in piece.owners],
        [count for piece in pieces for count in piece.counts],
    )


class _Piece:
    """Some submissions of one kind on their way to one record batch."""

    def __init__(
        self,
        kind: Kind,
        submissions: Sequence[Submission],
        owners: list[int],
        verdicts: list[Verdict],
        policy: DecodePolicy,
    ) -> None:
        self._kind = kind
        self._reader = _READERS[kind]
        self._submissions = submissions
        self._verdicts = verdicts
        self._policy = policy
        self._readings = self._read(owners)

    def _read(self, owners: list[int]) -> dict[int, Reading]:
        readings = {}
        for owner in owners:
            submission = self._submissions[owner]
            if submission.messages is not None and not submission.body:
                continue
            try:
                readings[owner] = self._reader.read(bytes(submission.body), self._policy.max_rows)
            except RequestError as error:
                self._verdicts[owner].error = error
        return readings

    def decode(self) -> DecodedRows | None:
        """Fill in the verdicts, and return the accepted rows, or None if there are none."""
        sizes = [len(reading.rows) for reading in self._readings.values()]
        if not (total := sum(sizes)):
            self._account(sizes, JsonRefusals())
            return None
        refusals = JsonRefusals()
        self._note_repairs(sizes, refusals)
        rows = self._record_batch(np.array(sizes), refusals)
        keep = np.ones(total, bool)
        keep[list(refusals)] = False
        self._refuse_expanded(rows, sizes, keep)
        counts = self._account(sizes, refusals)
        if not keep.all():
            rows = rows.filter(pa.array(keep))
        accepted = {owner: count for owner, count in zip(self._readings, counts, strict=True) if count}
        return DecodedRows(self._kind, rows, list(accepted), list(accepted.values())) if accepted else None

    def _note_repairs(self, sizes: list[int], refusals: JsonRefusals) -> None:
        first = 0
        for reading, size in zip(self._readings.values(), sizes, strict=True):
            for reason, rows in reading.repaired.items():
                refusals.repaired(reason, "", [first + row for row in rows])
            first += size

    def _record_batch(self, sizes: np.ndarray, refusals: JsonRefusals) -> pa.RecordBatch:
        """All rows that could be read, those with wrong values too: these are named in `refusals`."""
        readings = list(self._readings.values())
        texts = self._reader.take(readings)
        find_repeated([self._submissions[owner].body for owner in self._readings], readings, texts)
        senders = [self._submissions[owner] for owner in self._readings]
        received_ms = np.repeat(np.array([sender.received_ms for sender in senders], np.int64), sizes)
        columns = self._reader.columns(texts.columns, texts.others, received_ms, refusals, self._policy)
        columns["batch_timestamp"] = pa.array(received_ms)
        columns["timestamp"] = pa.array(columns["timestamp"])
        workspaces = np.array([sender.workspace_id for sender in senders], np.uint64)
        columns["workspace_id"] = pa.array(np.repeat(workspaces, sizes))
        addresses = np.frombuffer(b"".join(sender.source_ip for sender in senders), f"V{ID_BYTES}")
        columns["source_ip"] = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(ID_BYTES), len(received_ms), [None, pa.py_buffer(np.repeat(addresses, sizes).tobytes())]
        )
        schema = SCHEMAS[self._kind]
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    def _refuse_expanded(self, rows: pa.RecordBatch, sizes: list[int], keep: np.ndarray) -> None:
        """Refuse submissions whose rows hold more bytes than the policy allows."""
        limit, end = self._policy.max_expanded_bytes, 0
        for owner, size in zip(self._readings, sizes, strict=True):
            start, end = end, end + size
            if len(self._submissions[owner].body) + _LONGEST_DEFAULTS_BYTES * size <= limit:
                continue
            if (expanded := _bytes_of(rows.slice(start, size).filter(pa.array(keep[start:end])))) > limit:
                message = (
                    f"the rows hold {expanded:,} bytes of text and payload, at most {limit:,} are allowed"
                )
                self._verdicts[owner].error = BodyTooLarge(f"{message}: send smaller batches")
                keep[start:end] = False

    def _account(self, sizes: list[int], refusals: JsonRefusals) -> list[int]:
        """Fill in the verdicts; return the number of accepted rows of each reading."""
        refused_rows = np.array(sorted(refusals), np.int64)
        bounds = np.searchsorted(refused_rows, np.cumsum([0, *sizes]))
        counts, start = [], 0
        for index, (owner, reading) in enumerate(self._readings.items()):
            verdict, size = self._verdicts[owner], sizes[index]
            by_value = refused_rows[bounds[index] : bounds[index + 1]].tolist()
            if verdict.error is None:
                verdict.accepted = size - len(by_value)
                verdict.rejected = len(by_value) + len(reading.refused)
            if verdict.rejected:
                named = [RowRefusal(number, "", message) for number, message in reading.refused]
                if by_value:
                    numbers = row_numbers(bytes(self._submissions[owner].body), reading)
                    named.extend(RowRefusal(numbers[row - start], *refusals[row]) for row in by_value)
                named.sort(key=lambda refusal: refusal.row)
                limit = self._policy.max_reported_refusals
                verdict.refusals = named if self._submissions[owner].messages is not None else named[:limit]
            counts.append(verdict.accepted)
            start += size
        self._account_repairs(sizes, refusals)
        return counts

    def _account_repairs(self, sizes: list[int], refusals: JsonRefusals) -> None:
        if not refusals.repairs:
            return
        verdicts = [self._verdicts[owner] for owner in self._readings]
        ends = np.cumsum(sizes)
        for what, rows in refusals.repairs.items():
            kept = [row for row in rows if row not in refusals]
            found = np.bincount(np.searchsorted(ends, kept, side="right"), minlength=len(verdicts))
            for verdict, count in zip(verdicts, found.tolist(), strict=True):
                if count and verdict.error is None:
                    verdict.repaired = {**verdict.repaired, what: count}


def _bytes_of(rows: pa.RecordBatch) -> int:
    """Bytes of all strings and payloads."""
    texts = [column for column in rows.columns if column.type in (pa.string(), pa.binary())]
    return sum(pc.sum(pc.binary_length(column)).as_py() or 0 for column in texts)
