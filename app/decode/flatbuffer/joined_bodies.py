"""Unaligned little-endian reads anywhere in a group of bodies, for whole arrays of positions at once."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from app.kinds import ID_BYTES

Positions = npt.NDArray[np.int64]
"""Byte positions in JoinedBodies.data, or lengths and counts."""

Mask = npt.NDArray[np.bool_]

_ZEROS: Final = 64
_EMPTY_OBJECT: Final = b"{}"


def some(mask: Mask) -> bool:
    """mask.any(), at a tenth of the cost for few items."""
    return b"\1" in mask.tobytes()


def every(mask: Mask) -> bool:
    """mask.all(), likewise."""
    return b"\0" not in mask.tobytes()


class JoinedBodies:
    """The bodies of a group, concatenated, followed by bytes that no client wrote.

    starts, ends: where each body lies in `data`, shape (bodies,).
    void: position of a run of zero bytes. Absent or invalid values are read from there: as 0, as an empty
        vector, as an id of zeros, and never from another body.
    empty_object: position of the bytes `{}`.

    Reads take positions that are at least 0 and at most `void`; the caller must check whether a position may
    be read on behalf of a certain body.
    """

    def __init__(self, bodies: Sequence[bytes | bytearray]) -> None:
        lengths = np.fromiter(map(len, bodies), np.int64, len(bodies))
        self.ends: Positions = lengths.cumsum()
        self.starts: Positions = self.ends - lengths
        self.void = int(self.ends[-1]) if bodies else 0
        self.empty_object = self.void + _ZEROS
        self.data = b"".join((*bodies, bytes(_ZEROS), _EMPTY_OBJECT, bytes(_ZEROS)))
        self._u1 = np.frombuffer(self.data, np.uint8)
        self._i4 = self._at_every_byte("<i4")
        self._u4 = self._at_every_byte("<u4")
        self._u8 = self._at_every_byte("<u8")
        self._ids = self._at_every_byte(f"V{ID_BYTES}")

    def _at_every_byte(self, dtype: str) -> npt.NDArray[Any]:
        size = np.dtype(dtype).itemsize
        return np.ndarray((len(self.data) - size + 1,), dtype, self.data, strides=(1,))

    def u1(self, at: Positions) -> npt.NDArray[np.uint8]:
        return self._u1[at]

    def i4(self, at: Positions) -> npt.NDArray[np.int32]:
        return self._i4[at]

    def u4(self, at: Positions) -> npt.NDArray[np.uint32]:
        return self._u4[at]

    def u8(self, at: Positions) -> npt.NDArray[np.uint64]:
        return self._u8[at]

    def ids(self, at: Positions) -> npt.NDArray[np.void]:
        """16 bytes each, shape (n,)."""
        return self._ids[at]

    def u2_run(self, at: Positions, count: int) -> npt.NDArray[np.uint16]:
        """`count` (at most 24) numbers of two bytes from each position on, shape (n, count)."""
        run: npt.NDArray[np.uint16] = self._at_every_byte(f"V{2 * count}")[at].view("<u2")
        return run.reshape(-1, count)
