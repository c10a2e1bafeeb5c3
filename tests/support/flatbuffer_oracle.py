"""What a FlatBuffer batch holds, row by row, through the official accessors and the standard library's json.

Shares no code with app.decode. For batches whose structure is intact.
"""

import json
import re
import struct
from typing import Any

from app.kinds import EVENT_TYPES, LEVELS, Kind
from tests.fbs.batch_generated import Batch
from tests.fbs.event_generated import Event, EventData, ServiceEvent
from tests.fbs.log_generated import LogData
from tests.fbs.snapshot_generated import SnapshotData

AHEAD_MS = 366 * 24 * 3600 * 1000


class Wrong(Exception):
    """A row that must be refused; the argument names a field that is wrong."""


def rows_of(
    body: bytes, received_ms: int, *, json_required: bool
) -> tuple[Kind, list[dict[str, Any] | set[str]]]:
    """The kind, and per row its values by column or, where it must be refused, the fields that are wrong."""
    batch = Batch.GetRootAs(body)
    data = batch.DataAsNumpy().tobytes()
    if batch.SchemaType() == 1:
        events = EventData.GetRootAs(data)
        found = [_event(events.Events(i)) for i in range(events.EventsLength())]
        kind = Kind.EVENTS
    elif batch.SchemaType() == 2:
        logs = LogData.GetRootAs(data)
        found = [_log(logs.Logs(i)) for i in range(logs.LogsLength())]
        kind = Kind.LOGS
    else:
        snapshots = SnapshotData.GetRootAs(data)
        found = [_snapshot(snapshots.Snapshots(i)) for i in range(snapshots.SnapshotsLength())]
        kind = Kind.SNAPSHOTS
    return kind, [_checked(kind, row, received_ms, json_required) for row in found]


def _vector(table: Any, name: str) -> bytes | None:
    if getattr(table, f"{name}IsNone")():
        return None
    return bytes(getattr(table, f"{name}AsNumpy")().tobytes())


def _event(table: Any) -> dict[str, Any]:
    tab = table._tab
    (soffset,) = struct.unpack_from("<i", tab.Bytes, tab.Pos)
    (vtable_bytes,) = struct.unpack_from("<H", tab.Bytes, tab.Pos - soffset)
    event: Any = ServiceEvent() if vtable_bytes >= 18 else Event()
    event.Init(tab.Bytes, tab.Pos)
    return {
        "timestamp": event.Timestamp(),
        "event_type": event.EventType(),
        "event_name": event.EventName(),
        "device_id": _vector(event, "DeviceId"),
        "session_id": _vector(event, "SessionId"),
        "payload": _vector(event, "Payload"),
        "service": event.Service() if vtable_bytes >= 18 else None,
    }


def _log(log: Any) -> dict[str, Any]:
    return {
        "timestamp": log.Timestamp(),
        "level": log.Level(),
        "event_type": log.EventType(),
        "source": log.Source(),
        "service": log.Service(),
        "session_id": _vector(log, "SessionId"),
        "payload": _vector(log, "Payload"),
    }


def _snapshot(snapshot: Any) -> dict[str, Any]:
    return {
        "timestamp": snapshot.Timestamp(),
        "source": snapshot.Source(),
        "entity": snapshot.Entity(),
        "payload": _vector(snapshot, "Payload"),
    }


def _checked(
    kind: Kind, row: dict[str, Any], received_ms: int, json_required: bool
) -> dict[str, Any] | set[str]:
    wrong: set[str] = set()
    for name, value in row.items():
        try:
            row[name] = _CHECKS[name](kind, value)
        except Wrong:
            wrong.add(name)
    row["timestamp"] = row["timestamp"] or received_ms
    if row["timestamp"] > received_ms + AHEAD_MS:
        wrong.add("timestamp")
    json_required = json_required and kind is not Kind.LOGS
    if row["payload"] is None:
        row["payload"] = b"{}" if json_required else b""
    elif json_required and not is_json(row["payload"]):
        row["payload"] = without_nan(with_whole_characters(row["payload"]))
        if not is_json(row["payload"]):
            wrong.add("payload")
    if kind is Kind.EVENTS:
        service = row.pop("service")
        if service is not None and not wrong:
            row["payload"] = _with_service(row["payload"], service)
    return wrong or row


def _timestamp(kind: Kind, value: int) -> int:
    if value >= 2**63:
        raise Wrong
    return value


def _event_type(kind: Kind, value: int) -> str:
    names = {0: "log", 1: "log", 2: "enrich"} if kind is Kind.LOGS else dict(enumerate(EVENT_TYPES))
    if value not in names or (kind is Kind.EVENTS and value == 0):
        raise Wrong
    return names[value]


def _level(kind: Kind, value: int) -> str:
    if value >= len(LEVELS):
        raise Wrong
    return LEVELS[value]


def _id(kind: Kind, value: bytes | None) -> bytes | None:
    if value and len(value) != 16:
        raise Wrong
    return value or None


def _text(kind: Kind, value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError as error:
        raise Wrong from error


def _required_text(kind: Kind, value: bytes | None) -> str | None:
    if value is None and kind is Kind.SNAPSHOTS:
        raise Wrong
    return _text(kind, value)


_CHECKS: dict[str, Any] = {
    "timestamp": _timestamp,
    "event_type": _event_type,
    "level": _level,
    "device_id": _id,
    "session_id": _id,
    "event_name": _text,
    "service": _text,
    "source": _required_text,
    "entity": _required_text,
    "payload": lambda kind, value: value,
}


def parsed(payload: bytes) -> Any:
    """Strict JSON; objects as lists of pairs, so that doubled keys stay apart. Raises ValueError."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(
        payload.decode(), parse_constant=refuse, parse_int=str, parse_float=str, object_pairs_hook=_Pairs
    )


class _Pairs(list[tuple[str, Any]]):
    """An object, told from an array."""


def with_whole_characters(text: bytes) -> bytes:
    """The text with each escaped half of a surrogate pair as an escaped U+FFFD, read sign by sign."""
    written, at = b"", 0
    while at < len(text):
        escape = text[at : at + 2] if text[at : at + 1] == b"\\" else b""
        step = 6 if escape == b"\\u" else len(escape) or 1
        piece = text[at : at + step].lower()
        if piece[:4] in (b"\\ud8", b"\\ud9", b"\\uda", b"\\udb"):
            if text[at + 6 : at + 10].lower() in (b"\\udc", b"\\udd", b"\\ude", b"\\udf"):
                step = 12
            else:
                text = text[:at] + b"\\ufffd" + text[at + 6 :]
        elif piece[:4] in (b"\\udc", b"\\udd", b"\\ude", b"\\udf"):
            text = text[:at] + b"\\ufffd" + text[at + 6 :]
        written += text[at : at + step]
        at += step
    return written


def without_nan(text: bytes) -> bytes:
    """The text with null for what Python writes beside numbers, outside of strings."""
    pieces = re.split(rb'("(?:[^"\\\n]|\\[^\n])*")', text)
    return b"".join(
        piece if i % 2 else re.sub(rb"-?Infinity|NaN", b"null", piece) for i, piece in enumerate(pieces)
    )


def is_json(payload: bytes) -> bool:
    """Strict JSON in UTF-8, and no half of a surrogate pair."""
    try:
        json.dumps(parsed(payload), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


def _with_service(payload: bytes, service: str) -> bytes:
    if not is_json(payload):
        return payload
    pairs = parsed(payload)
    if not isinstance(pairs, _Pairs) or any(key == "service" for key, _ in pairs):
        return payload
    member = b'"service":' + _member_text(service)
    return payload.rstrip(b" \t\r\n")[:-1] + (b"," if pairs else b"") + member + b"}"


def _member_text(service: str) -> bytes:
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    text = "".join(short.get(c, f"\\u{ord(c):04x}" if ord(c) < 0x20 else c) for c in service)
    return f'"{text}"'.encode()
