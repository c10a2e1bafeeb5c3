"""The names that other loggers use for keys and levels of a log. docs/json.md has both as tables."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.kinds import LEVELS

Path = tuple[str, ...]
"""A key, or one within an object."""

ALIASES: Final[Mapping[str, tuple[Path, ...]]] = MappingProxyType(
    {
        "message": (
            ("msg",), ("log",), ("MESSAGE",), ("body",), ("fields", "message"), ("short_message",),
            ("event",),
        ),
        "timestamp": (
            ("time",), ("ts",), ("@timestamp",), ("date",), ("__REALTIME_TIMESTAMP",), ("asctime",),
            ("datetime",), ("Datetime",), ("EdgeStartTimestamp",),
        ),
        "level": (
            ("severity",), ("lvl",), ("log.level",), ("log", "level"), ("PRIORITY",), ("levelname",),
            ("log_level",), ("loglevel",), ("severity_text",), ("detected_level",),
        ),
        "source": (
            ("host.name",), ("host", "name"), ("hostname",), ("host",), ("_HOSTNAME",), ("HOSTNAME",),
            ("instance",),
        ),
        "service": (
            ("service.name",), ("service_name",), ("SYSLOG_IDENTIFIER",), ("app",), ("application",),
            ("job",),
        ),
    }
)  # fmt: skip
"""Aliases by key of the native format: if it is absent, the first alias with a valid value is used."""

OLDEST_MS: Final = 10**11
"""1973: an earlier value under an alias of `timestamp` is a duration or something else, not a time."""

LEVEL_WORDS: Final[Mapping[str, str]] = MappingProxyType(
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


def level_of_word(word: str) -> str | None:
    """The level that a word means, or a number written as text; None for any other."""
    word = word.strip()
    if (level := LEVEL_WORDS.get(word.lower())) is not None:
        return level
    if offset := _OFFSET.fullmatch(word):
        return LEVEL_WORDS.get(offset[1].lower())
    return level_of_number(int(word)) if word.isdecimal() and len(word) < 4 else None


def level_of_number(number: float) -> str | None:
    """The level of a number of syslog or pino; None for any other."""
    if 0 <= number < _SYSLOG_END:
        return LEVELS[int(number)]
    if _PINO_START <= number < _PINO_END:
        return next((level for end, level in _PINO if number < end), "critical")
    return None
