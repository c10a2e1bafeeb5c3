"""How decoded rows become frames: those that are to be stored, divided by size."""

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa

from app.submission import DecodedRows

FRAME_ROWS_BYTES: Final = 64 << 20
"""Rows are divided among several frames beyond that; the rows of one batch are not."""


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
