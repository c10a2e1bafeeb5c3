"""Sizes and durations as people write them in a configuration."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydantic import ByteSize, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

SIZE_UNITS: Final = ("B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB")
"""Units of pydantic's ByteSize that are accepted, in upper or lower case: MB is decimal, MiB is binary, as
in the SI and IEC standards. Its bit units are not accepted, nor its single letters, which are ambiguous."""

DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
"""Seconds by unit."""

_QUANTITY: Final = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", re.ASCII)


SIZE_MAX: Final = 2**63 - 1
DURATION_SECONDS_MAX: Final = 10**9


def _split(text: str) -> tuple[Decimal, str]:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError("not a number with a unit")
    return Decimal(match[1]), match[2]


def parse_size(value: object) -> ByteSize:
    """Bytes of "10MB", "64MiB", "512B" or a whole number of bytes. Raises ValueError.

    ByteSize itself would cut fractions ("2.3MB" is 2,299,999 bytes then), read "10 M B" as "10M", and take
    1.5 and true for one byte; it is given the number of bytes.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value <= SIZE_MAX:
        return ByteSize(value)
    if isinstance(value, str):
        with suppress(ValueError):
            number, unit = _split(value)
            size = number * _bytes_of(unit)
            if size <= SIZE_MAX:
                return ByteSize(round(size))
    raise ValueError(
        f"{json.dumps(value, default=str)} is not a size; write bytes with a unit: "
        'B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024), as "10MB"'
    )


def _bytes_of(unit: str) -> int:
    """Raises ValueError."""
    if unit and unit.upper() not in {known.upper() for known in SIZE_UNITS}:
        raise ValueError("not a unit of bytes")
    return int(ByteSize.byte_sizes[unit.lower() or "b"])


def parse_duration(value: object) -> float:
    """Seconds of "500ms", "60s", "5m", "1h", "1d". Raises ValueError."""
    if isinstance(value, str):
        with suppress(ValueError, KeyError):
            number, unit = _split(value)
            seconds = float(number) * DURATION_UNITS[unit.lower()]
            if seconds <= DURATION_SECONDS_MAX:
                return seconds
    raise ValueError(
        f"{json.dumps(value, default=str)} is not a duration; "
        'write a number with a unit: ms, s, m, h or d, as "60s"'
    )


def format_size(size: int) -> str:
    """The shortest exact text that parse_size reads; ByteSize's own is rounded."""
    fitting = [(size // _bytes_of(unit), unit) for unit in SIZE_UNITS if size and size % _bytes_of(unit) == 0]
    number, unit = min(fitting, default=(size, "B"))
    return f"{number}{unit}"


def format_duration(seconds: float) -> str:
    """The shortest exact text that parse_duration reads."""
    milliseconds = round(seconds * 1000)
    fitting = [
        (milliseconds // round(factor * 1000), unit)
        for unit, factor in DURATION_UNITS.items()
        if milliseconds % round(factor * 1000) == 0
    ]
    number, unit = min(fitting) if milliseconds else (0, "s")
    return f"{number}{unit}"


@dataclass(frozen=True)
class AtLeast:
    """`Annotated[ByteSize, AtLeast("1KB")]`: a size in bytes, read and written as people do."""

    least: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _bounded(self.least, parse_size, format_size, handler(source))


@dataclass(frozen=True)
class DurationText:
    """`Annotated[float, DurationText("1ms")]`: a duration in seconds, read and written as people do."""

    least: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _bounded(self.least, parse_duration, format_duration, handler(source))


def _bounded(
    least: str, parse: Callable[[object], int | float], write: Callable[[Any], str], number: CoreSchema
) -> CoreSchema:
    lowest = parse(least)

    def read(value: object) -> int | float:
        quantity = parse(value)
        if quantity < lowest:
            raise ValueError(f'"{value}" is too small; the least is "{least}"')
        return quantity

    written = core_schema.plain_serializer_function_ser_schema(write, when_used="json")
    return core_schema.no_info_before_validator_function(read, number, serialization=written)
