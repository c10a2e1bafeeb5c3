"""Reads FlatBuffer tables and vectors, all tables of one level in one pass, and checks that every offset is
within bounds.

Only bounds are checked. Alignment, sharing, overlap and the order in memory are up to the encoder.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.decode.flatbuffer.joined_bodies import JoinedBodies, Mask, Positions, every, some
from app.errors import MalformedBatch, RequestError

_MIN_VTABLE_BYTES = 4


class Faults:
    """Why submissions are refused entirely: the first reason found for each."""

    def __init__(self) -> None:
        self.errors: dict[int, RequestError] = {}

    def add(self, submission: int, error: RequestError) -> None:
        self.errors.setdefault(submission, error)


class Field(NamedTuple):
    """A field of a table: its number and its name."""

    slot: int
    name: str


class Regions(NamedTuple):
    """The allowed regions of the tables of one level, one entry per table.

    lo, hi: positions; everything that belongs to table i lies in [lo[i], hi[i]).
    owner: the submission's number.
    row: the row's 1-based number in its batch, or None if the tables of the level are not rows.
    """

    lo: Positions
    hi: Positions
    owner: Positions
    row: Positions | None
    name: str


class Spans(NamedTuple):
    """Vectors or strings: position of the first byte, number of items, and whether the field is present."""

    start: Positions
    length: Positions
    present: Mask

    def where(self, keep: Mask) -> "Spans":
        return Spans(self.start[keep], self.length[keep], self.present[keep])


class Tables:
    """One table per region, read through its vtable.

    vtable_bytes: size of each table's vtable. offsets: shape (n, slots), where in its table each field lies,
    0 for a field that is absent. A table that is out of bounds is recorded as a fault of its owner and reads
    as if all its fields were absent.
    """

    def __init__(
        self, bodies: JoinedBodies, regions: Regions, at: Positions, slots: int, faults: Faults
    ) -> None:
        self._bodies = bodies
        self._regions = regions
        self._faults = faults
        lo, hi = regions.lo, regions.hi
        self._at = self._refuse(at > hi - 4, at, "the table")
        vtable = self._at - bodies.i4(self._at)
        vtable = self._refuse((vtable < lo) | (vtable > hi - _MIN_VTABLE_BYTES), vtable, "the vtable")
        head = bodies.u2_run(vtable, 2 + slots)
        size = head[:, 0]
        # A table or vtable refused above is read at bodies.void: as a vtable of 0 bytes.
        outside = (size < _MIN_VTABLE_BYTES) | (size & 1 != 0) | (vtable + size > hi)
        self.vtable_bytes = size
        self.offsets = head[:, 2:]
        if not every(size >= 4 + 2 * slots):
            self.offsets = np.where(np.arange(6, 6 + 2 * slots, 2) > size[:, None], 0, self.offsets)
        if some(outside):
            self._refuse(outside, vtable, "the vtable")
            self.offsets = np.where(outside[:, None], 0, self.offsets)
        furthest = int(self.offsets.max(initial=0)) + 8
        # Whether all fields of up to 8 bytes surely lie within bounds: then none is checked again.
        self._roomy = every(self._at + furthest <= hi)

    def renumber(self, which: Mask, slots: Sequence[int]) -> None:
        """For these tables, map slot i to their slot slots[i]."""
        renumbered = self.offsets[:, slots]
        self.offsets = renumbered if every(which) else np.where(which[:, None], renumbered, self.offsets)

    def _refuse(self, outside: Mask, at: Positions, what: str) -> Positions:
        """Record the owners of positions out of bounds; returns the positions with those replaced by harmless
        ones."""
        if not some(outside):
            return at
        regions = self._regions
        owners, first = np.unique(regions.owner[outside], return_index=True)
        for owner, i in zip(owners.tolist(), np.flatnonzero(outside)[first].tolist(), strict=True):
            row = "" if regions.row is None else f"row {int(regions.row[i])}: "
            where = int(at[i] - self._bodies.starts[owner])
            self._faults.add(
                owner,
                MalformedBatch(
                    f"{row}{what}, at byte {where} of the body, does not lie within {regions.name} (bytes "
                    f"{int(regions.lo[i] - self._bodies.starts[owner])} to "
                    f"{int(regions.hi[i] - self._bodies.starts[owner])}); send a valid FlatBuffer"
                ),
            )
        return np.where(outside, self._bodies.void, at)

    def u1(self, field: Field) -> npt.NDArray[np.uint8]:
        """A one-byte number per table, 0 if absent."""
        at, _ = self._place(field, 1)
        return self._bodies.u1(at)

    def u8(self, field: Field) -> npt.NDArray[np.uint64]:
        """An eight-byte number per table, 0 if absent."""
        at, _ = self._place(field, 8)
        return self._bodies.u8(at)

    def vector(self, field: Field, item_bytes: int = 1) -> Spans:
        """Absent vectors, and those out of bounds, are empty and located at bodies.void."""
        void = self._bodies.void
        at, present = self._place(field, 4)
        if not some(present):
            return Spans(at, np.zeros_like(at), present)
        # A length read beyond the region fails the check of the end below, and is not used.
        start = np.minimum(at + self._bodies.u4(at), void)
        length = self._bodies.u4(start).astype(np.int64)
        start += 4
        outside = start + length * item_bytes > self._regions.hi
        if not some(outside):
            return Spans(start, length, present)
        self._refuse(outside & present, at, f"the vector of the field `{field.name}`")
        return Spans(np.where(outside, void, start), np.where(outside, 0, length), present & ~outside)

    def _place(self, field: Field, size: int) -> tuple[Positions, Mask]:
        """The position of the field's `size` inline bytes, and whether it is present; absent fields read as
        0."""
        offset = self.offsets[:, field.slot]
        present = offset > 0
        at = self._at + offset
        if not self._roomy:
            outside = (at > self._regions.hi - size) & present
            if some(outside):
                self._refuse(outside, at, f"the field `{field.name}`")
                present &= ~outside
        return at if every(present) else np.where(present, at, self._bodies.void), present
