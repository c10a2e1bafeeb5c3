"""Arrow columns from positions in a buffer.

A column of bytes is first built as an Arrow view column, 16 bytes per value that point into the buffer, and
then copied together by Arrow in one pass.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from app.decode.flatbuffer.joined_bodies import JoinedBodies, Mask, Positions, every

_INLINE_BYTES: Final = 12
"""A view of at most this many bytes holds them inline."""

AFTER_LAST_VALUE: Final = _INLINE_BYTES
"""Bytes that must follow the first byte of the last value in a buffer that values are gathered from."""


def gather(data: bytes, starts: Positions, lengths: Positions) -> pa.BinaryArray:
    """The bytes from each start on, concatenated. The lengths must add up to less than 2 GB."""
    return views(data, starts, lengths, None).cast(pa.binary())


def views(
    data: bytes, starts: Positions, lengths: Positions, validity: pa.Buffer | None
) -> pa.BinaryViewArray:
    """Views of the bytes from each start on, without copying. Only suitable for a cast: short views are not
    padded."""
    count = len(starts)
    laid = np.zeros((count, 4), np.uint32)
    laid[:, 0] = lengths
    laid[:, 3] = starts
    short = np.flatnonzero(lengths <= _INLINE_BYTES)
    if len(short):
        every_12 = np.ndarray((len(data) - _INLINE_BYTES + 1,), f"V{_INLINE_BYTES}", data, strides=(1,))
        # Bytes behind the value come along; the cast to plain columns that follows leaves them behind.
        laid[short, 1:] = every_12[starts[short]].view(np.uint32).reshape(-1, _INLINE_BYTES // 4)
    buffers = [validity, pa.py_buffer(laid), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary_view(), count, buffers)


def validity_of(present: Mask) -> pa.Buffer | None:
    """A validity bitmap, or None if there are no nulls."""
    return None if every(present) else pa.py_buffer(np.packbits(present, bitorder="little"))


def text_column(column: pa.BinaryViewArray) -> tuple[pa.StringArray, Mask | None]:
    """The same as text, and which values are UTF-8 (None: all are; else the others read as empty)."""
    try:
        return column.cast(pa.string()), None
    except pa.ArrowInvalid:
        values = column.to_pylist()
        valid = np.fromiter(map(_is_utf8, values), np.bool_, len(values))
        kept = [value if ok else b"" for value, ok in zip(values, valid.tolist(), strict=True)]
        return pa.array(kept, pa.binary()).cast(pa.string()), valid


def _is_utf8(value: bytes | None) -> bool:
    try:
        if value is not None:
            value.decode()
    except UnicodeDecodeError:
        return False
    return True


def id_column(bodies: JoinedBodies, at: Positions, present: Mask) -> pa.FixedSizeBinaryArray:
    """16 bytes from each position, null where absent; there `at` should be bodies.void."""
    return fixed_column(bodies.ids(at), validity_of(present))


def fixed_column(values: npt.NDArray[np.void], validity: pa.Buffer | None = None) -> pa.FixedSizeBinaryArray:
    """From shape (n,) of values of a fixed number of bytes."""
    type_ = pa.binary(values.dtype.itemsize)
    return pa.Array.from_buffers(type_, len(values), [validity, pa.py_buffer(values)])


def name_column(numbers: npt.NDArray[np.uint8], names: pa.StringArray) -> pa.StringArray:
    """The name of each number; every number must have one."""
    return pc.call_function("array_take", [names, pa.array(numbers)])
