"""Sizes and durations as people write them in a configuration."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

SIZE_UNITS: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
"""Bytes by unit: MB is decimal, MiB is binary, as in the SI and IEC standards."""

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


def parse_size(value: object) -> int:
    """Bytes of "10MB", "64MiB", "512B" or a whole number of bytes. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value <= SIZE_MAX:
        return value
    if isinstance(value, str):
        with suppress(ValueError, KeyError):
            number, unit = _split(value)
            size = number * SIZE_UNITS[unit.upper() or "B"]
            if size <= SIZE_MAX:
                return round(size)
    raise ValueError(
        f"{json.dumps(value, default=str)} is not a size; write bytes with a unit: "
        'B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024), as "10MB"'
    )


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
    """The shortest exact text that parse_size reads."""
    fitting = [(size // factor, unit) for unit, factor in SIZE_UNITS.items() if size % factor == 0 and size]
    number, unit = min(fitting, default=(size, "B"))
    return f"{number}{unit.replace('I', 'i')}"


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
class _QuantityText:
    """Makes pydantic read a quantity, bounded, and write it as people do."""

    at_least: str

    def _schema(
        self,
        parse: Callable[[object], int | float],
        serialize: Callable[[Any], str],
        number: CoreSchema,
    ) -> CoreSchema:
        lowest = parse(self.at_least)

        def read(value: object) -> int | float:
            quantity = parse(value)
            if quantity < lowest:
                raise ValueError(f'"{value}" is too small; the least is "{self.at_least}"')
            return quantity

        written = core_schema.plain_serializer_function_ser_schema(serialize, when_used="json")
        return core_schema.no_info_before_validator_function(read, number, serialization=written)


class SizeText(_QuantityText):
    """`Annotated[int, SizeText(at_least="1KB")]`: a size in bytes."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return self._schema(parse_size, format_size, handler(source))


class DurationText(_QuantityText):
    """`Annotated[float, DurationText(at_least="1ms")]`: a duration in seconds."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return self._schema(parse_duration, format_duration, handler(source))
