"""From a file's columns to the keys of the service's JSON."""

import datetime
import decimal
import re
import uuid
from base64 import b64encode
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
import orjson

from app.kinds import ID_BYTES, Kind

KEY_BY_COLUMN: Final[Mapping[Kind, Mapping[str, str]]] = MappingProxyType(
    {
        Kind.EVENTS: {"event_name": "event", "event_type": "type", "payload": "properties"},
        Kind.LOGS: {"event_type": "type", "payload": "data"},
        Kind.SNAPSHOTS: {},
    }
)
"""Columns of published files whose names differ from those in JSON."""

DOCUMENTS: Final = frozenset({"properties", "traits", "context", "data", "payload", "metrics"})
"""Keys whose values are JSON objects, even if a file holds them as text."""

IDS: Final = frozenset({"device_id", "session_id"})

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_OPTIONS: Final = orjson.OPT_NAIVE_UTC | orjson.OPT_NON_STR_KEYS


class RowMapping(msgspec.Struct, frozen=True):
    """renamed: key by column. constants: default values. types: JSON types by key, as guessed."""

    renamed: Mapping[str, str]
    constants: Mapping[str, str]

    @property
    def changes_nothing(self) -> bool:
        return not self.renamed and not self.constants

    def line(self, row: Mapping[str, Any]) -> bytes:
        """A row as one line of JSON. Raises ValueError, TypeError for what JSON cannot hold."""
        keyed: dict[str, Any] = {}
        for column, value in row.items():
            key = self.renamed.get(column, column)
            if key not in keyed or keyed[key] is None:
                keyed[key] = _document(value) if key in DOCUMENTS else _id(value) if key in IDS else value
        for key, constant in self.constants.items():
            if keyed.get(key) is None:
                keyed[key] = constant
        return orjson.dumps(keyed, default=_plain, option=_OPTIONS)


def row_mapping(
    kind: Kind,
    given: Mapping[str, str],
    constants: Mapping[str, str],
    columns: Sequence[str],
    name: str,
    *,
    is_table: bool,
) -> RowMapping:
    """columns: of the first rows. given: column by key. name: of events that have none, where it is a table.

    Raises ValueError if a named column does not exist.
    """
    names = KEY_BY_COLUMN[kind]
    renamed = {column: names.get(key, key) for key, column in given.items()}
    for column in renamed:
        if column not in columns:
            raise ValueError(f"there is no column {column}; the file has {', '.join(columns)}")
    if is_table:
        taken = set(renamed.values())
        renamed |= {
            column: key
            for column, key in names.items()
            if column in columns and key not in columns and key not in taken and column not in renamed
        }
    added = {names.get(key, key): value for key, value in constants.items()}
    keys = {renamed.get(column, column) for column in columns}
    if kind is Kind.EVENTS:
        added.setdefault("type", "track")
        if is_table and "event" not in keys:
            added.setdefault("event", name)
    absent = {key: value for key, value in added.items() if key not in keys or key in constants}
    return RowMapping({column: key for column, key in renamed.items() if column != key}, absent)


def csv_value(text: str) -> Any:
    """The value of a field: a number if it is written like one, None if it is empty."""
    if not text:
        return None
    first = text[0]
    if first.isdigit() or first == "-":
        if _INTEGER.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text):
            return float(text)
    elif text in ("true", "True", "TRUE"):
        return True
    elif text in ("false", "False", "FALSE"):
        return False
    return text


def _document(value: Any) -> Any:
    """JSON that a column contains as text."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _id(value: Any) -> Any:
    return str(uuid.UUID(bytes=value)) if isinstance(value, bytes) and len(value) == ID_BYTES else value


def _plain(value: Any) -> Any:
    """Converts types that orjson does not support."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return b64encode(value).decode("ascii")
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**63 else float(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, int):
        return float(value)
    return str(value)
