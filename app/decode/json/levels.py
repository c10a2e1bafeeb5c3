"""The severity of a log in the forms that common loggers write: words, and numbers of syslog and pino."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec
import pyarrow as pa
from msgspec import Raw

from app.decode.json.columns import joined
from app.decode.json.refusals import Refusals, read_in_parts
from app.kinds import LEVELS

FIELD: Final = "level"
DEFAULT: Final = "info"

_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{name: name for name in LEVELS},
        "emerg": "emergency", "panic": "emergency",
        "crit": "critical", "fatal": "critical", "dpanic": "critical", "ftl": "critical", "ctl": "critical",
        "err": "error", "severe": "error", "eror": "error",
        "warn": "warning", "wrn": "warning",
        "information": "info", "informational": "info", "inf": "info", "http": "info", "success": "info",
        "default": "info", "log": "info", "notification": "notice",
        "dbg": "debug", "verbose": "debug", "fine": "debug", "finer": "debug", "config": "debug",
        "silly": "trace", "finest": "trace", "trc": "trace", "all": "trace",
    }
)  # fmt: skip
_SYSLOG_END: Final = 8
_PINO: Final = ((20, "trace"), (30, "debug"), (40, "info"), (50, "warning"), (60, "error"))
"""Upper bounds (exclusive) of numeric levels; pino and bunyan count in tens from 10 to 60."""
_PINO_START: Final = 10
_PINO_END: Final = 100

_OFFSET: Final = re.compile(r"([A-Za-z]+)[+-][0-9]+")
"""Go's slog writes intermediate levels like `INFO+2`."""

_BAD: Final = f"must be one of {', '.join(LEVELS)}, or a syslog number (0 to 7) or pino number (10 to 60)"

_texts = msgspec.json.Decoder(list[str | None]).decode
_numbers = msgspec.json.Decoder(list[int]).decode
_value = msgspec.json.Decoder(str | int | float | None).decode


def read_levels(texts: Sequence[Raw], refusals: Refusals) -> pa.Array:
    """The column `level`: the default if it is absent; rows with an unknown level are refused.

    texts: the JSON text of each row's value, `null` where the row does not have the key.
    """
    parts = read_in_parts(texts, _together, level_of, FIELD, refusals, absent="")
    return pa.array([level for part in parts for level in part] if len(parts) > 1 else parts[0], pa.string())


def _together(texts: Sequence[Raw]) -> list[str] | None:
    text = joined(texts)
    try:
        words: list[str | None] = _texts(text)
    except msgspec.DecodeError:
        return _numbers_together(text)
    levels = list(map(_WORDS_OR_DEFAULT.get, words))
    if None in levels:
        levels = [level or _of_word(word or "") for level, word in zip(levels, words, strict=True)]
        return None if None in levels else levels  # type: ignore[return-value]
    return levels  # type: ignore[return-value]


def _numbers_together(text: bytes) -> list[str] | None:
    try:
        levels = list(map(_of_number, _numbers(text)))
    except msgspec.DecodeError:
        return None
    return None if None in levels else levels  # type: ignore[return-value]


def level_of(raw: Raw) -> str:
    """The level that one JSON text means. Raises ValueError."""
    try:
        value: str | float | None = _value(raw)
    except msgspec.DecodeError:
        raise ValueError(_BAD) from None
    if value is None:
        return DEFAULT
    level = _of_word(value) if isinstance(value, str) else _of_number(value)
    if level is None:
        raise ValueError(f"unknown: {str(value)[:40]!r}; {_BAD}")
    return level


def _of_word(word: str) -> str | None:
    word = word.strip()
    if (level := _WORDS.get(word.lower())) is not None:
        return level
    if offset := _OFFSET.fullmatch(word):
        return _WORDS.get(offset[1].lower())
    return _of_number(int(word)) if word.isdecimal() and len(word) < 4 else None


def _of_number(number: float) -> str | None:
    if 0 <= number < _SYSLOG_END:
        return LEVELS[int(number)]
    if _PINO_START <= number < _PINO_END:
        return next((level for end, level in _PINO if number < end), "critical")
    return None


_WORDS_OR_DEFAULT: Final[Mapping[str | None, str]] = MappingProxyType(
    dict([(None, DEFAULT), *_WORDS.items()])
)
