"""Is a payload valid JSON (RFC 8259, UTF-8, no NaN)? Asked for whole columns.

Half of a surrogate pair (an escape such as \\ud83d alone) is refused too: the RFC leaves open what it means,
and DuckDB's JSON functions fail a whole query on one. So is nesting beyond Python's recursion limit.
"""

import operator
from collections import deque

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa


def valid_json(payloads: pa.BinaryArray | pa.BinaryViewArray) -> npt.NDArray[np.bool_]:
    """One entry per payload; null is not valid. White space around a value is.

    The loop over the payloads runs in C; Python is entered once per payload that is refused.
    """
    values = payloads.to_pylist()
    valid = np.ones(len(values), np.bool_)
    waiting = iter(values)
    checked = map(msgspec.json.Decoder(msgspec.Raw).decode, waiting)
    while True:
        try:
            deque(checked, maxlen=0)
            break
        except (msgspec.DecodeError, RecursionError, TypeError):
            valid[len(values) - operator.length_hint(waiting) - 1] = False
    # The decoder above skips over strings without a look at their encoding.
    try:
        payloads.cast(pa.string())
    except pa.ArrowInvalid:
        valid &= np.fromiter(map(_is_utf8, values), np.bool_, len(values))
    return valid


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
