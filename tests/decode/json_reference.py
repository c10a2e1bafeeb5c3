"""What JSON bodies mean, written down a second time: row by row, with json.loads, and without any hurry.

It shares nothing with app.decode but the words of the schema, and is what the decoder is compared with.
"""

import json
import math
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from app.decode.utf8 import utf8_of
from app.kinds import LEVELS, Kind

BLANKS = " \t\r\n"
EVENT_TYPES = {"track", "identify", "group", "alias", "enrich", "context"}
WORDS = {name: name for name in LEVELS} | {
    word: level
    for level, words in {
        "emergency": "emerg panic",
        "critical": "crit fatal dpanic ftl ctl",
        "error": "err severe eror",
        "warning": "warn wrn",
        "notice": "notification",
        "info": "information informational inf http success default log",
        "debug": "dbg verbose fine finer config",
        "trace": "silly finest trc all",
    }.items()
    for word in words.split()
}
SYSLOG = ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"]
ALIASES = {
    "message": "msg log MESSAGE body fields.message short_message event",
    "timestamp": "time ts @timestamp date __REALTIME_TIMESTAMP asctime datetime Datetime EdgeStartTimestamp",
    "level": "severity lvl log.level PRIORITY levelname log_level loglevel severity_text detected_level",
    "source": "host.name hostname host _HOSTNAME HOSTNAME instance",
    "service": "service.name service_name SYSLOG_IDENTIFIER app application job",
}
NAMESPACE = uuid.UUID("0c5c03da-d4fc-53a2-9719-256c2d2e172f")
AHEAD_MS = 366 * 24 * 3600 * 1000
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
UUID = re.compile(
    r"(?:urn:uuid:|[{])?([0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})[}]?",
    re.IGNORECASE,
)
NUMBER = re.compile(r"[+-]?\d+([.]\d+)?([eE][+-]?\d+)?", re.ASCII)
MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)?)?"
    r" ?(?:[Zz]|UTC|GMT|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
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
    """The rows of a body, or None if it must be refused whole.

    Raises Unreadable for an array that is not JSON as a whole: its elements are not judged here.
    """
    body = utf8_of(body)
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
    except ValueError as error:
        raise Unreadable from error
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
        value = json.loads(line.decode().strip(BLANKS), **_exact(lenient=True))
    except (ValueError, RecursionError):
        return Row(number, None, {""})
    return _read_row(number, value, kind, received_ms)


def _constant(_: str) -> Any:
    raise ValueError


class Members(dict[str, Any]):
    """An object; `earlier` holds the values of keys that were written again later."""

    earlier: dict[str, list[Any]]


def _members(pairs: list[tuple[str, Any]]) -> Members:
    members = Members(pairs)
    values: dict[str, list[Any]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    members.earlier = {key: given[:-1] for key, given in values.items() if len(given) > 1}
    return members


def _exact(lenient: bool = False) -> dict[str, Any]:
    constant = (lambda _: None) if lenient else _constant
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
        return all(map(_is_unicode, [*value, *value.values(), *value.earlier.values()]))
    return all(map(_is_unicode, value)) if isinstance(value, list) else True


def _repaired(value: Any) -> Any:
    """Half a surrogate pair becomes U+FFFD; what is not UTF-8 stays what it is."""
    if isinstance(value, Number):
        return value
    if isinstance(value, str):
        return re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", value)
    if isinstance(value, Members):
        return _members(
            [
                (_repaired(key), _repaired(each))
                for key, last in value.items()
                for each in [*value.earlier.get(key, []), last]
            ]
        )
    return list(map(_repaired, value)) if isinstance(value, list) else value


def _read_row(number: int, row: Any, kind: Kind, received_ms: int) -> Row:
    row = _repaired(row)
    if not isinstance(row, dict) or not _is_unicode(row):
        return Row(number, None, {""})
    repeated = row.earlier if isinstance(row, Members) else {}
    row = dict(row)
    if kind is Kind.LOGS:
        _explain(row)
    fields = _Fields(row, received_ms)
    columns = {Kind.EVENTS: _event, Kind.LOGS: _log, Kind.SNAPSHOTS: _snapshot}[kind](fields, received_ms)
    unknown = {
        "service" if key == "service " else key: row[key]
        for key in row
        if key == "service " or key not in KNOWN[kind]
    }
    columns["payload"] = _merge(
        {
            Kind.EVENTS: lambda: [
                *(fields.as_member(key) for key in ("user_id", "group_id")),
                *(fields.original(key) for key in ("device_id", "session_id")),
                *(fields.object(key) for key in ("properties", "traits")),
                ("other", unknown),
                fields.as_member("context", "_context"),
            ],
            Kind.LOGS: lambda: [
                fields.as_member("message"),
                fields.original("session_id"),
                fields.object("data"),
                ("other", unknown),
            ],
            Kind.SNAPSHOTS: lambda: [fields.object("payload"), fields.object("metrics"), ("other", unknown)],
        }[kind](),
        {key: given[0] if len(given) == 1 else given for key, given in repeated.items()},
    )
    return Row(number, None if fields.faults else columns, fields.faults)


def _event(fields: "_Fields", received_ms: int) -> dict[str, Any]:
    columns = {
        "event_type": fields.word("type", {name: name for name in EVENT_TYPES}),
        "event_name": fields.text("event") or None,
        "device_id": fields.id("device_id") or fields.id("anonymous_id") or fields.user(),
        "session_id": fields.id("session_id"),
        "timestamp": fields.time(),
    }
    if columns["event_type"] == "track" and not columns["event_name"]:
        fields.faults.add("event")
    return columns


def _log(fields: "_Fields", received_ms: int) -> dict[str, Any]:
    given = {key for key in ("level", "timestamp") if fields.row.get(key) is not None}
    if fields.row.get("message") is None and len(given) < 2:
        fields.faults.add("message")
    level = _level(fields.row.get("level"))
    if level is None:
        fields.faults.add("level")
    return {
        "level": level,
        "event_type": fields.word("type", {"log": "log", "enrich": "enrich"}, "log"),
        "source": fields.text("source"),
        "service": fields.text("service"),
        "session_id": fields.id("session_id"),
        "timestamp": fields.time(),
    }


def _snapshot(fields: "_Fields", received_ms: int) -> dict[str, Any]:
    return {
        "source": fields.text("source", required=True),
        "entity": fields.text("entity", required=True),
        "timestamp": fields.time(),
    }


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Number)


def _level(value: Any) -> str | None:
    if value is None:
        return "info"
    if isinstance(value, Number):
        return _numbered_level(float(value))
    if not _is_text(value):
        return None
    word = value.strip().lower()
    if word in WORDS:
        return WORDS[word]
    if re.fullmatch("[a-z]+[+-][0-9]+", word):
        return WORDS.get(re.split("[+-]", word)[0])
    return _numbered_level(int(word)) if word.isdecimal() and len(word) < 4 else None


def _numbered_level(number: float) -> str | None:
    if 0 <= number < 8:
        return SYSLOG[int(number)]
    if 10 <= number < 100:
        return ["trace", "debug", "info", "warning", "error", "critical"][min(int(number // 10), 6) - 1]
    return None


def _explain(row: dict[str, Any]) -> None:
    """Moves what other loggers' keys hold to the keys of the protocol."""
    if not any(
        name.split(".")[0] in row or name in row for names in ALIASES.values() for name in names.split()
    ):
        return
    beside_host = "hostname" in row
    if isinstance(row.get("service"), dict):
        inside = row.pop("service")
        if _is_text(inside.get("name")) and inside["name"]:
            rest = {key: value for key, value in inside.items() if key != "name"}
            row |= {"service": inside["name"], **({"service ": rest} if rest else {})}
        else:
            row["service "] = inside
    for key, names in ALIASES.items():
        if row.get(key) is not None:
            continue
        for name in names.split():
            value = _found(row, name)
            if _means(key, name, value):
                _take_out(row, name)
                row[key] = value
                break
        else:
            if key == "service" and beside_host and _is_text(row.get("name")) and row["name"]:
                row["service"] = row.pop("name")


def _found(row: dict[str, Any], name: str) -> Any:
    if name in row or "." not in name:
        value = row.get(name)
        if value is not None or "." not in name:
            return value
    outer, inner = name.split(".")
    nested = row.get(outer)
    return nested.get(inner) if isinstance(nested, dict) else None


def _take_out(row: dict[str, Any], name: str) -> None:
    if row.get(name) is not None:
        del row[name]
        return
    outer, inner = name.split(".")
    row[outer] = {key: value for key, value in row[outer].items() if key != inner}
    if not row[outer]:
        del row[outer]


def _means(key: str, name: str, value: Any) -> bool:
    if value is None:
        return False
    if key == "level":
        return _level(value) is not None
    if key == "timestamp":
        try:
            time = _time(value)
        except (ValueError, OverflowError):
            return False
        return time is not None and time >= 10**11
    return name == "MESSAGE" or (_is_text(value) and bool(value))


@dataclass
class _Fields:
    row: dict[str, Any]
    received_ms: int
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

    def id(self, key: str) -> bytes | None:
        value = self.row.get(key)
        if not isinstance(value, str) or not value:
            return None
        found = UUID.fullmatch(value)
        return bytes.fromhex(found[1].replace("-", "")) if found else uuid.uuid5(NAMESPACE, value).bytes

    def user(self) -> bytes | None:
        value = self.row.get("user_id")
        return uuid.uuid5(NAMESPACE, value).bytes if isinstance(value, str) and value else None

    def original(self, key: str) -> tuple[str, dict[str, Any]]:
        value = self.row.get(key)
        kept = value not in (None, "") and not (isinstance(value, str) and UUID.fullmatch(value))
        return key, {key: value} if kept else {}

    def time(self) -> int:
        try:
            time = _time(self.row.get("timestamp"))
        except (ValueError, OverflowError):
            time = -1
        if time is None:
            return self.received_ms
        if not 0 <= time <= self.received_ms + AHEAD_MS:
            self.faults.add("timestamp")
        return time

    def object(self, key: str) -> tuple[str, dict[str, Any]]:
        value = self.row.get(key)
        if isinstance(value, dict):
            return key, value
        return key, {} if value is None else {key: value}

    def as_member(self, key: str, name: str | None = None) -> tuple[str, dict[str, Any]]:
        value = self.row.get(key)
        return key, {} if value is None else {name or key: value}


def _time(value: Any) -> int | None:
    """Milliseconds, or None for now."""
    if value is None:
        return None
    if isinstance(value, Number):
        return _milliseconds(value) if float(value) else None
    if not isinstance(value, str):
        raise ValueError
    text = value.strip()
    if NUMBER.fullmatch(text):
        return _milliseconds(text) if float(text) else 0
    return _moment(text)


def _milliseconds(text: str) -> int:
    """The unit is known by the size."""
    number = int(text) if text.lstrip("+-").isdigit() else float(text)
    size = abs(number)
    if not -(2**63) <= number <= 2**63 - 1:
        raise ValueError(text)
    if size < 1e11:
        return number * 1000 if isinstance(number, int) else round(number * 1e6) // 1000
    whole = math.floor(number)
    return whole if size < 1e14 else whole // 1000 if size < 1e17 else whole // 10**6


def _moment(text: str) -> int:
    """Milliseconds of an RFC 3339 time: microseconds rounded half up, then cut to milliseconds."""
    parts = MOMENT.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    day, time, second, fraction, sign, hours, minutes = parts.groups()
    digits = (fraction or "0").ljust(7, "0")
    microseconds = int(digits[:6]) + (digits[6] >= "5")
    if hours and not (int(hours) < 24 and int(minutes) < 60):
        raise ValueError(text)
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    leap = second == "60"
    local = datetime.fromisoformat(f"{day}T{time or '00:00'}:{'59' if leap else second or '00'}")
    local += timedelta(microseconds=microseconds, seconds=leap)
    epoch = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    return (local - epoch - offset) // timedelta(milliseconds=1)


def _merge(places: list[tuple[str, dict[str, Any]]], repeated: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    shadowed: dict[str, dict[str, Any]] = {"repeated": repeated} if repeated else {}
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
