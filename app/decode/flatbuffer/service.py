"""Adds an event's `service` to its payload, if that is a JSON object without such a key."""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.decode.flatbuffer.columns import AFTER_LAST_VALUE, gather
from app.decode.flatbuffer.joined_bodies import Mask, Positions
from app.decode.flatbuffer.json_payload import bytes_of, valid_json

_KEY: Final = "service"
_SPELLINGS: Final = (b'"service"', b"\\u00")
"""A payload that contains neither has no key `service`: its letters are written plainly or as
\\u00.. escapes."""

_JSON_SPACE: Final = b" \t\r\n"


def with_service(payloads: pa.BinaryArray, services: pa.StringArray, is_json: Mask | None) -> pa.BinaryArray:
    """The payloads, each with `"service":…` as its last member.

    Payloads stay unchanged if there is no service, or if they are not valid JSON, not an object, or already
    have the key. is_json: which payloads are valid JSON, or None if not checked yet.
    """
    data, starts, ends = bytes_of(payloads)
    wanted = (ends - starts >= 2) & services.is_valid().to_numpy(zero_copy_only=False)
    wanted[wanted] = np.isin(data[starts[wanted]], np.frombuffer(b"{" + _JSON_SPACE, np.uint8))
    if not wanted.any():
        return payloads
    rows = np.flatnonzero(wanted)
    rows = rows[valid_json(payloads.take(rows)) if is_json is None else is_json[rows]]
    return _append(payloads, data, starts, ends, rows, services.take(rows))


def _append(
    payloads: pa.BinaryArray,
    data: npt.NDArray[np.uint8],
    starts: Positions,
    ends: Positions,
    rows: Positions,
    services: pa.StringArray,
) -> pa.BinaryArray:
    """Each new payload is two pieces, its head and its tail; one pass copies all of them together."""
    encoded = services.dictionary_encode()
    members = [b'"service":' + msgspec.json.encode(name) for name in encoded.dictionary.to_pylist()]
    member_of = encoded.indices.to_numpy()
    tails = [b"," + member + b"}" for member in members]
    raw = b"".join((data.data, *tails, bytes(AFTER_LAST_VALUE)))
    simple, empty = _simple(raw, len(data), starts[rows], ends[rows])
    slow = np.flatnonzero(~simple)
    rewritten = [
        _rewrite(payloads[row].as_py(), members[member])
        for row, member in zip(rows[slow].tolist(), member_of[slow].tolist(), strict=True)
    ]
    if rewritten:
        raw = b"".join((data.data, *tails, *rewritten, bytes(AFTER_LAST_VALUE)))
    lengths = np.fromiter(map(len, (*tails, *rewritten)), np.int64)
    pool_starts = lengths.cumsum() - lengths + len(data)
    head_lengths = ends - starts
    head_lengths[rows] -= 1
    head_lengths[rows[slow]] = 0
    piece = member_of.astype(np.int64)
    piece[slow] = len(tails) + np.arange(len(slow))
    tail_starts, tail_lengths = np.zeros_like(starts), np.zeros_like(starts)
    tail_starts[rows] = pool_starts[piece] + empty  # without the comma
    tail_lengths[rows] = lengths[piece] - empty
    pieces = gather(
        raw,
        np.stack((starts, tail_starts), axis=1).ravel(),
        np.stack((head_lengths, tail_lengths), axis=1).ravel(),
    )
    _, offsets, joined = pieces.buffers()
    bounds = np.frombuffer(offsets, np.int32)[: 2 * len(payloads) + 1 : 2]
    return pa.Array.from_buffers(pa.binary(), len(payloads), [None, pa.py_buffer(bounds.copy()), joined])


def _simple(raw: bytes, size: int, starts: Positions, ends: Positions) -> tuple[Mask, Mask]:
    """Which valid JSON values are objects without the key, as seen from their text; and which of them are
    `{}`.

    raw: the values are in its first `size` bytes.
    """
    data = np.frombuffer(raw, np.uint8, size)
    framed = (data[starts] == ord("{")) & (data[ends - 1] == ord("}"))
    empty = framed & (ends - starts == 2)
    framed &= empty | (data[starts + 1] == ord('"'))
    for spelling in _SPELLINGS:
        # The first byte alone is found much faster, and a backslash is often nowhere.
        if raw.find(spelling[:1], 0, size) >= 0 and raw.find(spelling, 0, size) >= 0:
            framed &= ~_holds(data, spelling, starts, ends)
    return framed, empty & framed


def _holds(data: npt.NDArray[np.uint8], word: bytes, starts: Positions, ends: Positions) -> Mask:
    """Whether the first four bytes of `word` occur in data[start:end], which is more often than the whole
    word."""
    fours = np.ndarray((len(data) - 3,), np.uint32, data, strides=(1,))
    found = np.flatnonzero(fours == np.frombuffer(word[:4], np.uint32)[0])
    mask: Mask = np.searchsorted(found, ends) > np.searchsorted(found, starts)
    return mask


def _rewrite(payload: bytes, member: bytes) -> bytes:
    """One payload, by examining its keys."""
    try:
        keys = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return payload  # another value than an object
    if _KEY in keys:
        return payload
    return payload.rstrip(_JSON_SPACE)[:-1] + (b"," if keys else b"") + member + b"}"
