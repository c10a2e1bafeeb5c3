"""Device and session ids: UUID texts to 16-byte columns."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Raw

from app.decode.json.refusals import Refusals, read_one_by_one
from app.kinds import ID_BYTES

_NOT_A_UUID: Final = "must be a UUID: 32 hex digits, with hyphens as 8-4-4-4-12 or without"
_UUID: Final = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_QUOTED_BYTES: Final = 38  # 36 and two quotes
_QUOTES: Final = [0, 37]
_HYPHENS: Final = [9, 14, 19, 24]

_text = msgspec.json.Decoder(str | None).decode


def read_uuids(texts: Sequence[Raw], field: str, refusals: Refusals, *, required: bool) -> pa.Array:
    """The UUIDs of one column.

    texts: the JSON text of each row's value; empty where the row does not have the key.
    Returns an array of BINARY(16): null where the value is absent, null or an empty string, which is
    refused when the field is `required`, and where it is refused for not being a UUID.
    """
    text = b"".join(texts)
    if not text and not required:
        return pa.nulls(len(texts), pa.binary(ID_BYTES))
    if (ids := _hyphenated(text)) is not None:
        if len(ids) == ID_BYTES * len(texts):
            return pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(ID_BYTES), len(texts), [None, pa.py_buffer(ids)]
            )
        if not required:
            return _spread(ids, np.fromiter(map(len, texts), np.int64, len(texts)) != 0)
    values = read_one_by_one(texts, _parse, field, refusals)
    if required:
        for row, value in enumerate(values):
            if value is None:
                refusals.refuse(row, field, "is required: a UUID")
    return pa.array(values, pa.binary(ID_BYTES))


def _hyphenated(text: bytes) -> bytes | None:
    """The ids of the usual form, or None when a single one differs from it."""
    count, rest = divmod(len(text), _QUOTED_BYTES)
    if rest or not count:
        return None
    grid = np.frombuffer(text, np.uint8).reshape(count, _QUOTED_BYTES)
    if not ((grid[:, _QUOTES] == ord('"')).all() and (grid[:, _HYPHENS] == ord("-")).all()):
        return None
    digits = text.translate(None, b'"-')
    try:
        ids = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return None
    # fromhex() skips blanks, and the digits are fewer where there are more quotes or hyphens.
    return ids if len(digits) == 2 * len(ids) == 2 * ID_BYTES * count else None


def _spread(ids: bytes, present: np.ndarray) -> pa.Array:
    """`ids` in the rows that are `present`, null in the others."""
    rows = np.zeros((len(present), ID_BYTES), np.uint8)
    rows[present] = np.frombuffer(ids, np.uint8).reshape(-1, ID_BYTES)
    validity = pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(ID_BYTES), len(present), [validity, pa.py_buffer(rows)]
    )


def _parse(raw: Raw) -> bytes | None:
    if not len(raw):
        return None
    try:
        text = _text(raw)
    except msgspec.DecodeError:
        raise ValueError(_NOT_A_UUID) from None
    if not text:
        return None
    if not _UUID.fullmatch(text):
        raise ValueError(_NOT_A_UUID)
    return bytes.fromhex(text.replace("-", ""))
