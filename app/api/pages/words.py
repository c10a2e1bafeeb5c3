"""Numbers, sizes and times as pages write them."""

import datetime
from typing import Final

_SIZE_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def human_size(size: float) -> str:
    """`size` bytes in the unit that leaves at most three digits before the point."""
    amount = float(size)
    for unit in _SIZE_UNITS[:-1]:
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} {_SIZE_UNITS[-1]}"


def human_count(number: float) -> str:
    """Without decimals from ten on, with decimals below."""
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.2g}"


def human_seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def utc_time(timestamp_ms: int) -> str:
    """A client's timestamp may be outside the range of calendar dates."""
    try:
        return datetime.datetime.fromtimestamp(timestamp_ms / 1000, datetime.UTC).strftime(
            "%Y-%m-%d %H:%M:%S"
        )
    except (ValueError, OverflowError, OSError):
        return f"{timestamp_ms} ms"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def plain_time(rfc3339: str) -> str:
    """`2026-03-01T14:00:00.123Z` shortened for display."""
    return rfc3339[:19].replace("T", " ")
