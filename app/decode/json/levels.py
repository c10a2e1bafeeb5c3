"""The severity of a log in the forms that common loggers write: words, and numbers of syslog and pino."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec
import pyarrow as pa
from msgspec import Raw

from app.decode.json.columns import joined
from app.decode.json.logger_words import LEVEL_WORDS, level_of_number, level_of_word
from app.decode.json.refusals import JsonRefusals, read_in_parts
from app.kinds import LEVELS

FIELD: Final = "level"
DEFAULT: Final = "info"

_BAD: Final = f"must be one of {', '.join(LEVELS)}, or a syslog number (0 to 7) or pino number (10 to 60)"

_texts = msgspec.json.Decoder(list[str | None]).decode
_numbers = msgspec.json.Decoder(list[int]).decode
_value = msgspec.json.Decoder(str | int | float | None).decode


def read_levels(texts: Sequence[Raw], refusals: JsonRefusals) -> pa.Array:
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
        levels = [level or level_of_word(word or "") for level, word in zip(levels, words, strict=True)]
        return None if None in levels else levels  # type: ignore[return-value]
    return levels  # type: ignore[return-value]


def _numbers_together(text: bytes) -> list[str] | None:
    try:
        levels = list(map(level_of_number, _numbers(text)))
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
    level = level_of_word(value) if isinstance(value, str) else level_of_number(value)
    if level is None:
        raise ValueError(f"unknown: {str(value)[:40]!r}; {_BAD}")
    return level


_WORDS_OR_DEFAULT: Final[Mapping[str | None, str]] = MappingProxyType(
    dict([(None, DEFAULT), *LEVEL_WORDS.items()])
)
