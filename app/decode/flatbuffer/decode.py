"""FlatBuffer batches to Arrow rows, all batches of a group in one pass.

No Python statement runs per row: a few hundred numpy and Arrow calls per group do, whatever its size.

A buffer with anything out of bounds is refused entirely, and so is a batch with a wrong head (key, version,
schema type) or above a limit. A row with a wrong value is refused by itself. With `payload_must_be_json`,
payloads of events and snapshots must be JSON, and an absent one becomes `{}`; a log's payload is any bytes,
since agents send bare lines of text.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa

from app.decode.flatbuffer.batch import Batches, read_batches
from app.decode.flatbuffer.columns import fixed_column
from app.decode.flatbuffer.joined_bodies import JoinedBodies, Mask, Positions, every
from app.decode.flatbuffer.refusals import FlatBufferRefusals
from app.decode.flatbuffer.rows import FoundRows, build_columns, check_times, find_rows, refusal_text
from app.decode.flatbuffer.tables import Faults, Regions
from app.decode.group_room import GroupRoom
from app.errors import BodyTooLarge, NoRoomInGroup
from app.kinds import ID_BYTES, Kind
from app.schema import SCHEMAS
from app.submission import Decoded, DecodedRows, DecodePolicy, Submission, Verdict

ROWS_AT_ONCE: Final = 131_072
"""Larger groups are decoded in portions of about this many rows, since working memory is some hundred bytes
per row."""

_NONE: Final = np.zeros(0, np.int64)


def decode_flatbuffers(
    submissions: Sequence[Submission], policy: DecodePolicy, room: GroupRoom | None = None
) -> Decoded:
    """Decode a group. Bad batches and bad rows lead to verdicts, not exceptions.

    The bodies must add up to less than 256 MB. Batches whose rows do not fit into the group get the error
    NoRoomInGroup: they are valid, and belong to the next group.
    """
    if not submissions:
        return Decoded([], [])
    return _Group(submissions, policy, room or GroupRoom()).decode()


class _Group:
    """The state of one call: what is known so far about its submissions."""

    def __init__(self, submissions: Sequence[Submission], policy: DecodePolicy, room: GroupRoom) -> None:
        self._submissions = submissions
        self._policy = policy
        self._bodies = JoinedBodies([submission.body for submission in submissions])
        self._faults = Faults()
        self._batches: Batches = read_batches(submissions, self._bodies, policy.max_rows, self._faults)
        self._verdicts = [
            Verdict(kind, batch_id=batch_id, refusals=[])
            for kind, batch_id in zip(self._batches.kinds, self._batches.batch_ids, strict=True)
        ]
        self._room = room

    def decode(self) -> Decoded:
        groups = []
        for kind in Kind:
            portions = [
                rows for members in self._portions(kind) if (rows := self._decode_portion(kind, members))
            ]
            if portions:
                groups.append(_together(portions))
        for i, error in self._faults.errors.items():
            self._verdicts[i] = Verdict(error=error, batch_id=self._batches.batch_ids[i], refusals=[])
        return Decoded(self._verdicts, groups)

    def _portions(self, kind: Kind) -> Iterator[list[int]]:
        """Submissions with rows of this kind, in portions."""
        counts = self._batches.rows.length.tolist()
        portion: list[int] = []
        rows = 0
        for i, its_kind in enumerate(self._batches.kinds):
            if its_kind is kind and counts[i]:
                portion.append(i)
                rows += counts[i]
                if rows >= ROWS_AT_ONCE:
                    yield portion
                    portion, rows = [], 0
        if portion:
            yield portion

    def _decode_portion(self, kind: Kind, members: list[int]) -> DecodedRows | None:
        counts = self._batches.rows.length[members]
        member_of = np.repeat(np.arange(len(members)), counts)
        regions, at = self._row_tables(members, counts)
        refusals = FlatBufferRefusals(len(at))
        found = find_rows(kind, self._bodies, regions, at, self._faults, refusals)
        received_ms = np.array([self._submissions[i].received_ms for i in members], np.int64)[member_of]
        check_times(found, received_ms, self._policy.times, refusals)
        self._check_expansion(members, counts, found)
        keep = self._sound(members)[member_of]
        if refusals:
            keep &= ~refusals.refused
        stored, stored_of = found, member_of
        if not every(keep):
            stored, received_ms, stored_of = found.where(keep), received_ms[keep], member_of[keep]
        built = build_columns(kind, self._bodies, stored, received_ms, self._policy.payload_must_be_json)
        columns = built.columns | self._request_columns(members, stored_of)
        columns["batch_timestamp"] = pa.array(received_ms)
        schema = SCHEMAS[kind]
        rows = pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
        looked_at = np.flatnonzero(keep) if built.right or built.repairs else _NONE
        if built.right:
            good = np.logical_and.reduce(list(built.right.values()))
            rows = rows.filter(pa.array(good))
            keep[looked_at[~good]] = False
            self._refuse_late(built.right, looked_at, found, refusals)
        accepted = np.bincount(member_of[keep], minlength=len(members)).tolist()
        self._conclude(members, counts.tolist(), accepted, refusals)
        for reason, repaired in built.repairs.items():
            kept = looked_at[repaired][keep[looked_at[repaired]]]
            self._note_repairs(reason, np.bincount(member_of[kept], minlength=len(members)), members)
        owners = [member for member, count in zip(members, accepted, strict=True) if count]
        return DecodedRows(kind, rows, owners, [count for count in accepted if count]) if owners else None

    def _row_tables(self, members: list[int], counts: Positions) -> tuple[Regions, Positions]:
        """The allowed regions of the tables of the members' rows, and their actual positions."""
        batches = self._batches
        owner = np.repeat(np.array(members), counts)
        first = counts.cumsum() - counts
        number = np.arange(len(owner)) - np.repeat(first, counts)
        slots = batches.rows.start[owner] + 4 * number
        regions = Regions(batches.lo[owner], batches.hi[owner], owner, number + 1, "`data`")
        return regions, slots + self._bodies.u4(slots)

    def _check_expansion(self, members: list[int], counts: Positions, found: FoundRows) -> None:
        held = np.concatenate(([0], found.bytes_held().cumsum()))
        limit = self._policy.max_expanded_bytes
        if held[-1] <= min(limit, self._room.uncounted_bytes):
            return
        ends = counts.cumsum()
        for member, size in zip(members, (held[ends] - held[ends - counts]).tolist(), strict=True):
            if member in self._faults.errors:
                continue
            if size > limit:
                self._faults.add(
                    member,
                    BodyTooLarge(
                        f"the rows of this batch hold about {size} bytes, at most {limit} are allowed; send "
                        "smaller batches"
                    ),
                )
            elif not self._room.take(self._submissions[member].workspace_id, size):
                self._faults.add(member, NoRoomInGroup("too much data arrived at once"))

    def _sound(self, members: list[int]) -> Mask:
        """Which members are not refused entirely."""
        errors = self._faults.errors
        if not errors:
            return np.ones(len(members), np.bool_)
        return np.fromiter((member not in errors for member in members), np.bool_, len(members))

    def _request_columns(self, members: list[int], member_of: Positions) -> dict[str, pa.Array]:
        """The columns that are the same for all rows of a batch."""
        submissions = [self._submissions[member] for member in members]
        workspaces = np.array([submission.workspace_id for submission in submissions], np.uint64)
        source_ips = np.frombuffer(
            b"".join([submission.source_ip for submission in submissions]), f"V{ID_BYTES}"
        ).copy()
        forwarded = self._batches.source_ips[members]
        source_ips[forwarded >= 0] = self._bodies.ids(forwarded[forwarded >= 0])
        return {
            "workspace_id": pa.array(workspaces[member_of]),
            "source_ip": fixed_column(source_ips[member_of]),
        }

    def _refuse_late(
        self, right: dict[str, Mask], built: Positions, found: FoundRows, refusals: FlatBufferRefusals
    ) -> None:
        """Refuse rows whose faults were found only when the columns were built; `built`: the indexes of the
        rows in them."""
        spans_of = {"service": found.service or found.payload, **found.texts, "payload": found.payload}
        for field, valid in right.items():
            wrong = np.zeros(len(found.timestamps), np.bool_)
            wrong[built[~valid]] = True
            spans = spans_of[field]
            refusals.add(wrong, field, partial(refusal_text, self._bodies, field, spans))

    def _note_repairs(self, reason: str, counts: Positions, members: list[int]) -> None:
        for member, count in zip(members, counts.tolist(), strict=True):
            if count and member not in self._faults.errors:
                verdict = self._verdicts[member]
                verdict.repaired = {**verdict.repaired, (reason, "payload"): count}

    def _conclude(
        self, members: list[int], counts: list[int], accepted: list[int], refusals: FlatBufferRefusals
    ) -> None:
        first = 0
        for member, count, good in zip(members, counts, accepted, strict=True):
            verdict = self._verdicts[member]
            verdict.accepted = good
            if good < count and member not in self._faults.errors:
                verdict.rejected = count - good
                verdict.refusals = refusals.named(first, count, self._policy.max_reported_refusals)
            first += count


def _together(portions: Sequence[DecodedRows]) -> DecodedRows:
    if len(portions) == 1:
        return portions[0]
    return DecodedRows(
        portions[0].kind,
        pa.concat_batches([portion.rows for portion in portions]),
        [owner for portion in portions for owner in portion.owners],
        [count for portion in portions for count in portion.counts],
    )
