"""Times as clients write them, in JSON, to milliseconds since the epoch."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Raw

from app.decode.json.refusals import Refusals, joined, read_one_by_one

_BAD: Final = (
    "must be milliseconds since the epoch or an RFC 3339 time with an offset, as 2024-05-01T12:00:00Z"
)
_OUT_OF_RANGE: Final = "is out of range: milliseconds since the epoch must fit into 64 bits"
_INT64: Final = np.iinfo(np.int64)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]

_integers = msgspec.json.Decoder(list[int]).decode
_moments = msgspec.json.Decoder(list[_Moment]).decode
_number = msgspec.json.Decoder(int | float | None).decode
_moment = msgspec.json.Decoder(_Moment).decode


def read_timestamps(texts: Sequence[Raw], received_ms: np.ndarray, refusals: Refusals) -> np.ndarray:
    """The column `timestamp`.

    texts: the JSON text of each row's value, `null` where the row does not have the key. An integer is
        milliseconds; a fraction of a millisecond is dropped. Text is RFC 3339, with an offset.
    received_ms: int64[rows], taken where the time is absent, null or 0.
    Returns int64[rows]; rows whose time is neither, or does not fit, are refused.
    """
    times = _read_integers(texts)
    if times is None:
        times = _read_moments(texts)
    if times is None:
        values = read_one_by_one(texts, _parse, "timestamp", refusals)
        times = np.fromiter((value or 0 for value in values), np.int64, len(values))
    return np.where(times == 0, received_ms, times)


def _read_integers(texts: Sequence[Raw]) -> np.ndarray | None:
    try:
        return np.array(_integers(joined(texts)), np.int64)
    except (msgspec.DecodeError, OverflowError):
        return None


def _read_moments(texts: Sequence[Raw]) -> np.ndarray | None:
    try:
        moments = _moments(joined(texts))
    except msgspec.DecodeError:
        return None
    microseconds: np.ndarray = pa.array(moments, pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    return microseconds // 1000


def _parse(text: Raw) -> int | None:
    try:
        number: int | float | None = _number(text)
    except msgspec.DecodeError:
        return _parse_moment(text)
    if number is None:
        return None
    milliseconds = math.trunc(number)
    if not _INT64.min <= milliseconds <= _INT64.max:
        raise ValueError(_OUT_OF_RANGE)
    return milliseconds


def _parse_moment(text: Raw) -> int:
    try:
        moment: datetime = _moment(text)
    except msgspec.DecodeError as error:
        raise ValueError(_OUT_OF_RANGE if "out of range" in str(error) else _BAD) from None
    return (moment - _EPOCH) // _MILLISECOND
