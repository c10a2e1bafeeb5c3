"""Device and session ids: converts UUID texts to 16-byte columns, and names that are not UUIDs to ids derived
from them."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Raw

from app.decode.json.columns import joined
from app.decode.json.refusals import ABSENT, JsonRefusals
from app.decode.name_based_ids import name_based_id
from app.kinds import ID_BYTES

_NOT_A_UUID: Final = "must be a UUID: 32 hex digits, with hyphens (8-4-4-4-12) or without"
_UUID: Final = re.compile(
    r"(?:urn:uuid:|\{)?([0-9a-f]{32}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\}?", re.IGNORECASE
)
_QUOTED_BYTES: Final = 38  # 36 and two quotes
_STEP: Final = _QUOTED_BYTES + 1  # and what stands between two in an array
_QUOTES: Final = [0, 37]
_HYPHENS: Final = [9, 14, 19, 24]
_DIGITS: Final = [at for at in range(1, 37) if at not in _HYPHENS]
_PLAIN_BYTES: Final = 34  # without hyphens

_NO_DIGIT: Final = 255
_VALUES: Final = np.array(
    [int(chr(sign), 16) if chr(sign) in "0123456789abcdefABCDEF" else _NO_DIGIT for sign in range(256)],
    np.uint8,
)

_text = msgspec.json.Decoder(str).decode


class Ids(NamedTuple):
    """column: BINARY(16), null if there is no id.

    originals: per row the JSON text of a value that is not a UUID and must be kept, else empty; None if no
    row has one.
    """

    column: pa.Array
    originals: list[Raw] | None = None


def read_ids(texts: Sequence[Raw], field: str, refusals: JsonRefusals, *, from_names: bool) -> Ids:
    """The ids of one column.

    texts: the JSON text of each row's value; empty where the row does not have the key.
    from_names: derives a name-based id from a text or a number that is not a UUID, and none from any other
    value; without it, rows with such values are refused. Absent, null and an empty text are null.
    """
    array = joined(texts)
    if len(array) <= len(texts) + 1:
        return Ids(pa.nulls(len(texts), pa.binary(ID_BYTES)))
    if (ids := _hyphenated(array, len(texts))) is not None:
        return Ids(
            pa.FixedSizeBinaryArray.from_buffers(pa.binary(ID_BYTES), len(texts), [None, pa.py_buffer(ids)])
        )
    some = list(filter(None, texts))
    if len(some) < len(texts) and (ids := _hyphenated(joined(some), len(some))) is not None:
        present = np.fromiter(map(len, texts), np.int64, len(texts)) != 0
        rows = np.zeros((len(present), ID_BYTES), np.uint8)
        rows[present] = np.frombuffer(ids, np.uint8).reshape(-1, ID_BYTES)
        return Ids(_column(rows, present))
    return _IdColumn(texts).read(field, refusals, from_names)


def _hyphenated(array: bytes, count: int) -> bytes | None:
    """The ids of an array of `count` in the usual form, or None if any of them has another form."""
    if len(array) != count * _STEP + 1:
        return None
    grid = np.frombuffer(array, np.uint8, offset=1).reshape(count, _STEP)
    if not ((grid[:, _QUOTES] == ord('"')).all() and (grid[:, _HYPHENS] == ord("-")).all()):
        return None
    digits = array.translate(None, b'"-[,]')
    try:
        ids = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return None
    # fromhex() skips blanks, and the digits are fewer where there are more quotes or hyphens.
    return ids if len(digits) == 2 * len(ids) == 2 * ID_BYTES * count else None


class _IdColumn:
    """A column in which not every value has the usual form: the usual ones are read together, the others one
    by one."""

    def __init__(self, texts: Sequence[Raw]) -> None:
        self._texts = texts
        self._sizes = np.fromiter(map(len, texts), np.int64, len(texts))
        self._rows = np.zeros((len(texts), ID_BYTES), np.uint8)
        self._present = np.zeros(len(texts), bool)

    def read(self, field: str, refusals: JsonRefusals, from_names: bool) -> Ids:
        self._take(_QUOTED_BYTES, _DIGITS, _HYPHENS)
        self._take(_PLAIN_BYTES, list(range(1, 33)), [])
        originals: list[Raw] | None = None
        known: dict[bytes, bytes | None] = {}
        named = []
        for row in np.flatnonzero(~self._present & (self._sizes != 0)).tolist():
            raw = self._texts[row]
            if (value := _value(raw)) is None:
                continue
            if not (found := _UUID.fullmatch(value)) and not from_names:
                refusals.refuse(row, field, _NOT_A_UUID)
                continue
            if found:
                identity: bytes | None = bytes.fromhex(found[1].replace("-", ""))
            else:
                if (written := bytes(raw)) not in known:
                    known[written] = _of_name(written, value)
                identity = known[written]
                originals = originals or [ABSENT] * len(self._texts)
                originals[row] = raw
                named.append(row)
            if identity is not None:
                self._rows[row] = np.frombuffer(identity, np.uint8)
                self._present[row] = True
        if named:
            refusals.repaired("name_based_id", field, named)
        return Ids(_column(self._rows, self._present), originals)

    def _take(self, size: int, digits: list[int], hyphens: list[int]) -> None:
        """Read the values of this size that are quoted digits, with hyphens where they belong."""
        rows = np.flatnonzero(self._sizes == size)
        if not len(rows):
            return
        text = b"".join([self._texts[row] for row in rows.tolist()])
        grid = np.frombuffer(text, np.uint8).reshape(len(rows), size)
        values = _VALUES[grid[:, digits]]
        right = (values != _NO_DIGIT).all(axis=1) & (grid[:, [0, size - 1]] == ord('"')).all(axis=1)
        right &= (grid[:, hyphens] == ord("-")).all(axis=1)
        self._rows[rows[right]] = (values[right, ::2] << 4) | values[right, 1::2]
        self._present[rows[right]] = True


def with_names(ids: Ids, names: Sequence[Raw]) -> Ids:
    """The ids, with name-based ones for rows that have none. names: per row a JSON text, or empty."""
    filled: list[bytes | None] = []
    known: dict[bytes, bytes | None] = {}
    for identity, raw in zip(ids.column.to_pylist(), names, strict=True):
        if identity is None and (name := _value(raw)):
            written = bytes(raw)
            if written not in known:
                known[written] = _of_name(written, name)
            identity = known[written]
        filled.append(identity)
    return Ids(pa.array(filled, pa.binary(ID_BYTES)), ids.originals)


def _value(raw: Raw) -> str | None:
    """A text, or another value as it is written; None if there is none."""
    written = bytes(raw)
    if written.startswith(b'"'):
        return _text(raw) or None
    return None if written in (b"", b"null") else written.decode()


def _of_name(written: bytes, value: str) -> bytes | None:
    """The id derived from a text or a number; None for values that are not names: true, false, an array, an
    object."""
    return None if written[:1] in b"tf[{" else name_based_id(value).bytes


def _column(rows: npt.NDArray[np.uint8], present: npt.NDArray[np.bool_]) -> pa.Array:
    validity = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(ID_BYTES), len(present), [validity, pa.py_buffer(rows)]
    )
