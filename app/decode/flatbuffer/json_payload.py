"""Checks for whole columns whether payloads are valid JSON (RFC 8259, UTF-8, no NaN).

Half of a surrogate pair (an escape such as \\ud83d alone) is not valid: the RFC leaves its meaning open, and
DuckDB's JSON functions fail a whole query on one. Nor is nesting beyond Python's recursion limit.
"""

import operator
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from app.decode.flatbuffer.joined_bodies import Positions, some
from app.decode.repair import repaired

_OPENED: Final = ord("{")
_CLOSED: Final = ord("}")
_LINE_END: Final = pa.scalar(b"\n", pa.binary())


class _Object(msgspec.Struct, gc=False):
    """Any JSON object: its members are parsed but not kept."""


def valid_json(payloads: pa.BinaryArray) -> npt.NDArray[np.bool_]:
    """One entry per payload; null is not valid, white space around a value is allowed.

    Python code runs once per refused payload.
    """
    if _all_are_objects(payloads):
        return np.ones(len(payloads), np.bool_)
    return _judge_singly(payloads.to_pylist())


def _all_are_objects(payloads: pa.BinaryArray) -> bool:
    """Whether every payload is one valid object, determined without a Python object for each.

    They are read as the lines of one text. Each begins with a brace and ends with one: a value that one line
    leaves open cannot be continued by the next, since no comma stands between `}` and `{`, and a string
    cannot, since it may not hold a line break. So every line holds one value or more, and as many values as
    lines means one in each.
    """
    count = len(payloads)
    if not count or payloads.null_count:
        return False
    data, starts, ends = bytes_of(payloads)
    if some(ends - starts < 2) or some(data[starts] != _OPENED) or some(data[ends - 1] != _CLOSED):
        return False
    whole = pa.ListArray.from_arrays(np.array([0, count], np.int32), payloads)
    lines = pc.binary_join(whole, _LINE_END)
    try:
        # The decoder skips over strings without a look at their encoding.
        pa.Array.from_buffers(pa.string(), 1, lines.buffers()).validate(full=True)
        return len(msgspec.json.Decoder(_Object).decode_lines(lines[0].as_buffer())) == count
    except (msgspec.DecodeError, RecursionError, pa.ArrowInvalid):
        return False


def repair_json(
    payloads: pa.BinaryArray, is_json: npt.NDArray[np.bool_]
) -> tuple[pa.BinaryArray, dict[str, Positions]]:
    """The payloads, with those that are almost JSON repaired, and which these are, by reason. `is_json` is
    updated."""
    wrong = np.flatnonzero(~is_json)
    attempts = [repaired(payloads[row].as_py() or b"") for row in wrong.tolist()]
    reasons = np.array([reason for _, reason in attempts])
    right = valid_json(pa.array([text for text, _ in attempts], pa.binary())) & (reasons != "")
    if not right.any():
        return payloads, {}
    rows = wrong[right]
    is_json[rows] = True
    mask = np.zeros(len(payloads), np.bool_)
    mask[rows] = True
    texts = [text for (text, _), good in zip(attempts, right.tolist(), strict=True) if good]
    payloads = pc.replace_with_mask(payloads, pa.array(mask), pa.array(texts, pa.binary()))
    return payloads, {str(reason): rows[reasons[right] == reason] for reason in np.unique(reasons[right])}


def bytes_of(payloads: pa.BinaryArray) -> tuple[npt.NDArray[np.uint8], Positions, Positions]:
    """The bytes that a column without nulls points into, and where each value starts and ends."""
    _, offsets, data = payloads.buffers()
    bounds = np.frombuffer(offsets, np.int32)[payloads.offset :][: len(payloads) + 1].astype(np.int64)
    return np.frombuffer(data or b"", np.uint8), bounds[:-1], bounds[1:]


def _judge_singly(values: Sequence[bytes | None]) -> npt.NDArray[np.bool_]:
    valid = np.ones(len(values), np.bool_)
    waiting: Iterator[Any] = iter(values)
    checked = map(msgspec.json.Decoder(msgspec.Raw).decode, waiting)
    while True:
        try:
            deque(checked, maxlen=0)
            break
        except (msgspec.DecodeError, RecursionError, TypeError):
            valid[len(values) - operator.length_hint(waiting) - 1] = False
    return valid & np.fromiter(map(_is_utf8, values), np.bool_, len(values))


def why_not_json(payload: bytes) -> str:
    """What is wrong with a payload that `valid_json` refuses."""
    if not payload:
        return "it is empty"
    try:
        msgspec.json.Decoder(msgspec.Raw).decode(payload)
        payload.decode()
    except RecursionError:
        return "it is nested too deeply"
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 (byte {error.start})"
    except msgspec.DecodeError as error:
        return str(error)
    return "it is not valid JSON"


def _is_utf8(value: bytes | None) -> bool:
    if value is None:
        return False
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
