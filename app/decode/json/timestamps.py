"""Converts times as clients write them in JSON to milliseconds since the epoch.

The unit of a number follows from its magnitude, since current times in one unit are much larger than in the
next: below 10^11 it is seconds, below 10^14 milliseconds, below 10^17 microseconds, else nanoseconds.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Raw

from app.decode.json.columns import joined
from app.decode.json.logger_words import OLDEST_MS
from app.decode.json.refusals import JsonRefusals, read_in_parts
from app.decode.time_range import TimeRange

Times = npt.NDArray[np.int64]

FIELD: Final = "timestamp"

_BAD: Final = (
    "must be a number (s, ms, µs or ns since the epoch) or an RFC 3339 time such as 2024-05-01T12:00:00Z"
)
_INT64: Final = np.iinfo(np.int64)
_NOW: Final = _INT64.min
"""Stands for a time that is absent, null or the number 0."""

_SECONDS_END: Final = 10**11
_MILLISECONDS_END: Final = 10**14
_MICROSECONDS_END: Final = 10**17
_BEYOND_ALL_UNITS: Final = "is out of range: too many digits for a time; send milliseconds since the epoch"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WRITTEN: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?P<minute>\d\d:\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?)?"
    r" ?(?:(?P<utc>[Zz]|UTC|GMT)|(?P<hours>[+-]\d\d)(?::?(?P<minutes>\d\d))?)?",
    re.ASCII,
)

_Aware = Annotated[datetime, msgspec.Meta(tz=True)]
_Naive = Annotated[datetime, msgspec.Meta(tz=False)]

_integers = msgspec.json.Decoder(list[int]).decode
_numbers = msgspec.json.Decoder(list[int | float | None]).decode
_aware = msgspec.json.Decoder(list[_Aware]).decode
_naive = msgspec.json.Decoder(list[_Naive]).decode
_text = msgspec.json.Decoder(str).decode


def read_timestamps(
    texts: Sequence[Raw], received_ms: Times, refusals: JsonRefusals, allowed: TimeRange
) -> Times:
    """The column `timestamp`.

    texts: the JSON text of each row's value, `null` where the row does not have the key.
    received_ms: int64[rows], used if the time is absent, null or the number 0.
    Returns int64[rows]; rows whose time cannot be read, or is not in the allowed range, are refused.
    """
    parts = read_in_parts(texts, _read_together, _parse, FIELD, refusals, absent=_NOW)
    times = np.asarray(parts[0], np.int64) if len(parts) == 1 else np.concatenate(parts)
    if times.min() == _NOW:
        times = np.where(times == _NOW, received_ms, times)
    if (wrong := allowed.outside(times, received_ms)) is not None:
        for row in np.flatnonzero(wrong).tolist():
            if row not in refusals:
                unit = _unit_of(texts[row])
                refusals.refuse(row, FIELD, allowed.complaint(int(times[row]), unit, int(received_ms[row])))
    return times


def _read_together(texts: Sequence[Raw]) -> Sequence[int] | None:
    """All times of a part, if they are written in one form, else None."""
    text = joined(texts)
    quoted = text.startswith(b'["')
    return _read_aware(text) if quoted else _read_integers(text)  # type: ignore[return-value]


def _read_integers(text: bytes) -> Times | None:
    try:
        values = np.array(_integers(text), np.int64)
    except (msgspec.DecodeError, OverflowError):
        return _read_numbers(text)
    if values.min() >= _SECONDS_END and values.max() < _MILLISECONDS_END:
        return values
    return _from_integers(values)


def _from_integers(values: Times) -> Times:
    # The least integer has no absolute value; it is as far out as one that has.
    size = np.abs(np.maximum(values, -_INT64.max))
    times = np.select(
        [size < _SECONDS_END, size < _MILLISECONDS_END, size < _MICROSECONDS_END],
        [np.where(size < _SECONDS_END, values, 0) * 1000, values, values // 1000],
        values // 1_000_000,
    )
    return np.where(values == 0, _NOW, times)


def _read_numbers(text: bytes) -> Times | None:
    """Numbers with fractions or nulls among them."""
    try:
        values = _numbers(text)
    except msgspec.DecodeError:
        return None
    try:
        return np.fromiter((_NOW if value is None else _from_number(value) for value in values), np.int64)
    except (ValueError, OverflowError):
        return None


def _read_aware(text: bytes) -> Times | None:
    try:
        moments = _aware(text)
    except msgspec.DecodeError:
        return _read_naive(text)
    return _milliseconds(pa.array(moments, pa.timestamp("us", tz="UTC")))


def _read_naive(text: bytes) -> Times | None:
    """Times without an offset are UTC."""
    try:
        return _milliseconds(pa.array(_naive(text), pa.timestamp("us")))
    except msgspec.DecodeError:
        return None


def _milliseconds(moments: pa.Array) -> Times:
    microseconds: Times = moments.cast(pa.int64()).to_numpy()
    return microseconds // 1000


def _parse(raw: Raw) -> int:
    written = bytes(raw)
    if written == b"null":
        return _NOW
    if written.startswith(b'"'):
        return _from_text(_text(raw).strip())
    if not _NUMBER.fullmatch(number := written.decode()):
        raise ValueError(_BAD)
    return _from_number(_number(number))


def is_a_time(raw: Raw) -> bool:
    """Whether a value that need not be a time can be one: small numbers are durations or something else."""
    try:
        time = _parse(raw)
    except ValueError:
        return False
    return time >= OLDEST_MS


def _number(written: str) -> int | float:
    if written.lstrip("+-").isdigit():
        # More digits than any unit has are not worth a conversion, which is slow for thousands of them.
        return int(written) if len(written) < 40 else math.inf
    return float(written)


def _from_number(number: float) -> int:
    """Milliseconds of a number of any unit. Raises ValueError if no unit fits."""
    if number == 0:
        return _NOW
    size = abs(number)
    if not _INT64.min <= number <= _INT64.max:
        raise ValueError(_BEYOND_ALL_UNITS)
    if size < _SECONDS_END:
        # A fraction of seconds is read to the microsecond: in binary, .123 is a little less.
        return round(number * 1e6) // 1000 if isinstance(number, float) else number * 1000
    if size < _MILLISECONDS_END:
        return math.floor(number)
    return math.floor(number) // (1000 if size < _MICROSECONDS_END else 1_000_000)


def _from_text(text: str) -> int:
    if _NUMBER.fullmatch(text):
        time = _from_number(_number(text))
        return 0 if time == _NOW else time
    parts = _WRITTEN.fullmatch(text)
    if parts is None:
        raise ValueError(_BAD)
    second, leap = parts["second"] or "00", 0
    if second == "60":
        second, leap = "59", 1000
    fraction = f".{parts['fraction']}" if parts["fraction"] else ""
    offset = f"{parts['hours']}:{parts['minutes'] or '00'}" if parts["hours"] else "Z"
    strict = f"{parts['date']}T{parts['minute'] or '00:00'}:{second}{fraction}{offset}"
    try:
        moment = msgspec.convert(strict, _Aware)
    except msgspec.ValidationError:
        raise ValueError(_BAD) from None
    return (moment - _EPOCH) // _MILLISECOND + leap


def _unit_of(raw: Raw) -> str:
    """The unit in which a time was read, as text for the sender."""
    written = bytes(raw).decode().strip('"')
    if not _NUMBER.fullmatch(written):
        return "a written time"
    size = abs(_number(written))
    if size < _SECONDS_END:
        return "seconds"
    if size < _MILLISECONDS_END:
        return "milliseconds"
    return "microseconds" if size < _MICROSECONDS_END else "nanoseconds"
