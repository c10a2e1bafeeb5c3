"""Turns decoded rows that must be stored into frames, divided by size."""

from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa

from app.commit.message_ids import Repeated
from app.submission import DecodedRows

FRAME_ROWS_BYTES: Final = 64 << 20
"""Above this, rows are divided among several frames; the rows of one batch are not."""


def only_stored(
    rows: DecodedRows, stored: Sequence[bool], repeated: Repeated = MappingProxyType({})
) -> DecodedRows:
    """Only the rows of the batches that must be stored, without rows that are already stored."""
    if all(stored[owner] for owner in rows.owners) and repeated.keys().isdisjoint(rows.owners):
        return rows
    slices, owners, counts, start = [rows.rows.slice(0, 0)], [], [], 0
    for owner, count in zip(rows.owners, rows.counts, strict=True):
        part = rows.rows.slice(start, count) if stored[owner] else None
        if part is not None and owner in repeated:
            kept = np.ones(count, bool)
            kept[list(repeated[owner])] = False
            part = part.filter(pa.array(kept))
        if part is not None and part.num_rows:
            slices.append(part)
            owners.append(owner)
            counts.append(part.num_rows)
        start += count
    return DecodedRows(rows.kind, pa.concat_batches(slices), owners, counts)


def frames_of(rows: DecodedRows) -> Iterator[DecodedRows]:
    """Divides rows that exceed one frame, between batches."""
    # The first is an upper bound, and costs nothing.
    small = rows.rows.get_total_buffer_size() <= FRAME_ROWS_BYTES or rows.rows.nbytes <= FRAME_ROWS_BYTES
    if small or len(rows.owners) < 2:
        if rows.owners:
            yield rows
        return
    for half in halves(rows):
        yield from frames_of(half)


def halves(rows: DecodedRows) -> Iterator[DecodedRows]:
    """Splits the rows of several batches in two."""
    middle = len(rows.owners) // 2
    split = sum(rows.counts[:middle])
    yield DecodedRows(rows.kind, rows.rows.slice(0, split), rows.owners[:middle], rows.counts[:middle])
    yield DecodedRows(rows.kind, rows.rows.slice(split), rows.owners[middle:], rows.counts[middle:])


def divided(rows: DecodedRows, part_of: Callable[[int], int]) -> Iterator[tuple[int, DecodedRows]]:
    """The rows of each part, in their order. part_of: the part of each owner's rows."""
    found: dict[int, tuple[list[pa.RecordBatch], list[int], list[int]]] = {}
    start = 0
    for owner, count in zip(rows.owners, rows.counts, strict=True):
        slices, owners, counts = found.setdefault(part_of(owner), ([], [], []))
        slices.append(rows.rows.slice(start, count))
        owners.append(owner)
        counts.append(count)
        start += count
    if len(found) == 1:
        yield next(iter(found)), rows
        return
    for part, (slices, owners, counts) in found.items():
        yield part, DecodedRows(rows.kind, pa.concat_batches(slices), owners, counts)
