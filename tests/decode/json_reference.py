"""What JSON bodies mean, written down a second time: row by row, with json.loads, and without any hurry.

It shares nothing with app.decode but the words of the schema, and is what the decoder is compared with.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from app.kinds import LEVELS, Kind

BLANKS = " \t\r\n"
EVENT_TYPES = {"track", "identify", "group", "alias", "enrich", "context"}
ALIASES = {
    "emerg": "emergency",
    "panic": "emergency",
    "crit": "critical",
    "fatal": "critical",
    "err": "error",
    "warn": "warning",
    "information": "info",
    "informational": "info",
    "dbg": "debug",
}
KNOWN = {
    Kind.EVENTS: [
        "type",
        "event",
        "device_id",
        "session_id",
        "timestamp",
        "user_id",
        "group_id",
        "properties",
        "traits",
        "context",
    ],
    Kind.LOGS: ["message", "level", "timestamp", "source", "service", "session_id", "data", "type"],
    Kind.SNAPSHOTS: ["source", "entity", "timestamp", "payload", "metrics"],
}
UUID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):?(\d\d))", re.ASCII
)


class Number(str):
    """A number as it was written."""


class Unreadable(Exception):
    """Not a JSON text, or not one that is UTF-8."""


@dataclass
class Row:
    """columns: what must be stored, or None when the row is refused for one of the `faults` (fields)."""

    number: int
    columns: dict[str, Any] | None
    faults: set[str] = field(default_factory=set)


def read_body(body: bytes, kind: Kind, received_ms: int) -> list[Row] | None:
    """The rows of a body, or None if it must be refused whole."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip(BLANKS.encode()):
        return None
    if body.lstrip(BLANKS.encode()).startswith(b"["):
        return _read_array(body, kind, received_ms)
    lines = [(n, line) for n, line in enumerate(body.split(b"\n"), 1) if line.strip(BLANKS.encode())]
    try:
        objects = _concatenated_objects(body)
    except Unreadable:
        return [_read_line(number, line, kind, received_ms) for number, line in lines]
    numbers = [n for n, _ in lines] if len(lines) == len(objects) > 1 else range(1, len(objects) + 1)
    return [_read_row(n, value, kind, received_ms) for n, value in zip(numbers, objects, strict=True)]


def _read_array(body: bytes, kind: Kind, received_ms: int) -> list[Row] | None:
    try:
        elements = json.loads(body.decode("utf-8", "surrogateescape"), **_exact(lenient=True))
    except ValueError:
        return None
    return [_read_row(n, value, kind, received_ms) for n, value in enumerate(elements, 1)] or None


def _concatenated_objects(body: bytes) -> list[Any]:
    try:
        text = body.decode()
        values, position = [], 0
        while text[position:].strip(BLANKS):
            position += len(text[position:]) - len(text[position:].lstrip(BLANKS))
            value, position = json.JSONDecoder(**_exact()).raw_decode(text, position)
            values.append(value)
    except ValueError as error:
        raise Unreadable from error
    if not all(isinstance(value, dict) and _is_unicode(value) for value in values):
        raise Unreadable
    return values


def _read_line(number: int, line: bytes, kind: Kind, received_ms: int) -> Row:
    try:
        value = json.loads(line.decode().strip(BLANKS), **_exact())
    except ValueError:
        return Row(number, None, {""})
    return _read_row(number, value, kind, received_ms)


def _constant(_: str) -> Any:
    raise ValueError


class Members(dict[str, Any]):
    """An object; `dropped` holds the values of keys that were written again later."""

    dropped: list[Any]


def _members(pairs: list[tuple[str, Any]]) -> Members:
    members = Members(pairs)
    members.dropped = [value for _, value in pairs]
    return members


def _exact(lenient: bool = False) -> dict[str, Any]:
    constant = (lambda _: "\ud800") if lenient else _constant  # unreadable alone, as a lone surrogate is
    return {
        "parse_int": Number,
        "parse_float": Number,
        "parse_constant": constant,
        "object_pairs_hook": _members,
    }


def _is_unicode(value: Any) -> bool:
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, Members):
        return all(map(_is_unicode, [*value, *value.dropped]))
    return all(map(_is_unicode, value)) if isinstance(value, list) else True


def _read_row(number: int, row: Any, kind: Kind, received_ms: int) -> Row:
    if not isinstance(row, dict) or not _is_unicode(row):
        return Row(number, None, {""})
    fields = _Fields(row)
    columns = {Kind.EVENTS: _event, Kind.LOGS: _log, Kind.SNAPSHOTS: _snapshot}[kind](fields, received_ms)
    unknown = {key: value for key, value in row.items() if key not in KNOWN[kind]}
    columns["payload"] = _merge(
        {
            Kind.EVENTS: lambda: [
                *(fields.as_member(key) for key in ("user_id", "group_id")),
                *(fields.object(key) for key in ("properties", "traits")),
                ("other", unknown),
                fields.as_member("context", "_context"),
            ],
            Kind.LOGS: lambda: [fields.as_member("message"), fields.object("data"), ("other", unknown)],
            Kind.SNAPSHOTS: lambda: [fields.object("payload"), fields.object("metrics"), ("other", unknown)],
        }[kind]()
    )
    return Row(number, None if fields.faults else columns, fields.faults)


def _event(fields: "_Fields", received_ms: int) -> dict[str, Any]:
    columns = {
        "event_type": fields.word("type", {name: name for name in EVENT_TYPES}),
        "event_name": fields.text("event") or None,
        "device_id": fields.uuid("device_id", required=True),
        "session_id": fields.uuid("session_id"),
        "timestamp": fields.time() or received_ms,
    }
    if columns["event_type"] == "track" and not columns["event_name"]:
        fields.faults.add("event")
    return columns


def _log(fields: "_Fields", received_ms: int) -> dict[str, Any]:
    if fields.row.get("message") is None:
        fields.faults.add("message")
    return {
        "level": fields.word("level", {name: name for name in LEVELS} | ALIASES, "info"),
        "event_type": fields.word("type", {"log": "log", "enrich": "enrich"}, "log"),
        "source": fields.text("source"),
        "service": fields.text("service"),
        "session_id": fields.uuid("session_id"),
        "timestamp": fields.time() or received_ms,
    }


def _snapshot(fields: "_Fields", received_ms: int) -> dict[str, Any]:
    return {
        "source": fields.text("source", required=True),
        "entity": fields.text("entity", required=True),
        "timestamp": fields.time() or received_ms,
    }


@dataclass
class _Fields:
    row: dict[str, Any]
    faults: set[str] = field(default_factory=set)

    def text(self, key: str, *, required: bool = False) -> str | None:
        value = self.row.get(key)
        if isinstance(value, Number) or not isinstance(value, str | None) or (required and not value):
            self.faults.add(key)
            return None
        return value

    def word(self, key: str, words: dict[str, str], default: str | None = None) -> str | None:
        value = self.text(key)
        stored = default if value is None else words.get(value.lower())
        if stored is None:
            self.faults.add(key)
        return stored

    def uuid(self, key: str, *, required: bool = False) -> bytes | None:
        value = self.text(key, required=required)
        if not value:
            return None
        if not UUID.fullmatch(value):
            self.faults.add(key)
            return None
        return bytes.fromhex(value.replace("-", ""))

    def time(self) -> int:
        value = self.row.get("timestamp")
        try:
            if value is None:
                return 0
            if not isinstance(value, str):
                raise ValueError
            milliseconds = _milliseconds(value) if isinstance(value, Number) else _moment(value)
        except (ValueError, OverflowError):
            milliseconds = 1 << 70
        if not -(1 << 63) <= milliseconds < 1 << 63:
            self.faults.add("timestamp")
        return milliseconds

    def object(self, key: str) -> tuple[str, dict[str, Any]]:
        value = self.row.get(key)
        if isinstance(value, dict):
            return key, value
        if value is not None:
            self.faults.add(key)
        return key, {}

    def as_member(self, key: str, name: str | None = None) -> tuple[str, dict[str, Any]]:
        value = self.row.get(key)
        return key, {} if value is None else {name or key: value}


def _milliseconds(number: str) -> int:
    return int(number) if number.lstrip("-").isdigit() else int(float(number))


def _moment(text: str) -> int:
    """Milliseconds of an RFC 3339 time: microseconds rounded half up, then cut to milliseconds."""
    parts = MOMENT.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    day, time, fraction, sign, hours, minutes = parts.groups()
    digits = (fraction or "0").ljust(7, "0")
    microseconds = int(digits[:6]) + (digits[6] >= "5")
    if hours and not (int(hours) < 24 and int(minutes) < 60):
        raise ValueError(text)
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    local = datetime.fromisoformat(f"{day}T{time}") + timedelta(microseconds=microseconds)
    epoch = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    return (local - epoch - offset) // timedelta(milliseconds=1)


def _merge(places: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    shadowed: dict[str, dict[str, Any]] = {}
    for place, members in places:
        for key, value in members.items():
            if key not in merged:
                merged[key] = value
            elif not same(merged[key], value):
                shadowed.setdefault(place, {})[key] = value
    if shadowed:
        name = "_shadowed"
        while name in merged:
            name = "_" + name
        merged[name] = shadowed
    return merged


def same(a: Any, b: Any) -> bool:
    """Equality that tells a number from a string with its digits, and true from 1."""
    if type(a) is not type(b) and not (isinstance(a, dict) and isinstance(b, dict)):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def read_payload(payload: bytes) -> dict[str, Any]:
    """A stored payload, numbers as they stand in it. Raises ValueError when it is not JSON."""
    value: dict[str, Any] = json.loads(payload.decode(), **_exact())
    return value
