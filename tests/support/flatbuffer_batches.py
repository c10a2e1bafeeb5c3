"""FlatBuffer batches as clients send them, from rows written as dicts.

A row's keys are the names of the columns (schema.SCHEMAS); ids are bytes, `event_type` and `level` are
names or bare numbers, `service` of an event needs the service layout. What is missing
or None is an absent field.

official    the official builder: children before parents, shared vtables, trailing absent fields dropped
hand_laid   as SDK encoders do: vtable before its table, nothing shared, 4-byte alignment
Template    a hand-laid body whose numbers are overwritten: fast enough for load generators
"""

import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import flatbuffers
import numpy as np

from app.kinds import EVENT_TYPES, LEVELS, Kind
from tests.fbs import batch_generated, event_generated, log_generated, snapshot_generated

EventLayout = Literal["plain", "service"]
Row = Mapping[str, Any]

SCHEMA_TYPES: Final = {Kind.EVENTS: 1, Kind.LOGS: 2, Kind.SNAPSHOTS: 5}
NUMBER: Final = b"000000000000"
"""In a row of a Template: replaced by the row's number, 12 decimal digits."""

_ENUMS: Final = {
    ("events", "event_type"): EVENT_TYPES,
    ("logs", "event_type"): ("unknown", "log", "enrich"),
    ("logs", "level"): LEVELS,
}
_SLOTS: Final = {
    "events plain": ("event_type", "timestamp", "device_id", "session_id", "event_name", "payload"),
    "events service": (
        "event_type",
        "timestamp",
        "service",
        "device_id",
        "session_id",
        "event_name",
        "payload",
    ),
    "logs": ("event_type", "session_id", "level", "timestamp", "source", "service", "payload"),
    "snapshots": ("timestamp", "source", "entity", "payload"),
}
_TEXTS: Final = frozenset({"service", "event_name", "source", "entity"})


def _slots(kind: Kind, layout: EventLayout) -> tuple[str, ...]:
    return _SLOTS[f"events {layout}" if kind is Kind.EVENTS else kind.value]


def _value(kind: Kind, row: Row, name: str) -> Any:
    """A field as it goes on the wire: int, bytes or None; text as UTF-8 bytes."""
    value = row.get(name)
    names = _ENUMS.get((kind.value, name))
    if names is not None and isinstance(value, str):
        return names.index(value)
    return value.encode() if isinstance(value, str) else value


def official(
    kind: Kind,
    rows: Sequence[Row],
    api_key: bytes,
    *,
    layout: EventLayout = "plain",
    batch_id: int = 0,
    version: int = 100,
    schema_type: int | None = None,
    source_ip: bytes | None = None,
) -> bytes:
    """A batch by the official builder. It cannot write a service event without a payload."""
    data = _official_data(kind, rows, layout)
    builder = flatbuffers.Builder(len(data) + 256)
    vectors = {
        "Data": builder.CreateByteVector(data),
        "ApiKey": builder.CreateByteVector(api_key),
    }
    if source_ip is not None:
        vectors["SourceIp"] = builder.CreateByteVector(source_ip)
    batch_generated.BatchStart(builder)
    for name, offset in vectors.items():
        getattr(batch_generated, f"BatchAdd{name}")(builder, offset)
    batch_generated.BatchAddBatchId(builder, batch_id)
    batch_generated.BatchAddSchemaType(builder, SCHEMA_TYPES[kind] if schema_type is None else schema_type)
    batch_generated.BatchAddVersion(builder, version)
    builder.Finish(batch_generated.BatchEnd(builder))
    return bytes(builder.Output())


def _official_data(kind: Kind, rows: Sequence[Row], layout: EventLayout) -> bytes:
    module: Any
    module, table, vector = {
        Kind.EVENTS: (event_generated, "Event", "EventData"),
        Kind.LOGS: (log_generated, "LogEntry", "LogData"),
        Kind.SNAPSHOTS: (snapshot_generated, "Snapshot", "SnapshotData"),
    }[kind]
    if kind is Kind.EVENTS and layout == "service":
        table, vector = "ServiceEvent", "ServiceEventData"
        if any(row.get("payload") is None for row in rows):
            raise ValueError("the builder drops an absent payload, and the event would read as a plain one")
    builder = flatbuffers.Builder(1024)
    offsets = [_official_row(builder, module, table, kind, row, _slots(kind, layout)) for row in rows]
    field = kind.value.capitalize()
    getattr(module, f"{vector}Start{field}Vector")(builder, len(offsets))
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    items = builder.EndVector()
    getattr(module, f"{vector}Start")(builder)
    getattr(module, f"{vector}Add{field}")(builder, items)
    builder.Finish(getattr(module, f"{vector}End")(builder))
    return bytes(builder.Output())


def _official_row(
    builder: flatbuffers.Builder, module: Any, table: str, kind: Kind, row: Row, slots: Sequence[str]
) -> int:
    values = {}
    for name in slots:
        value = _value(kind, row, name)
        if isinstance(value, bytes):
            value = builder.CreateString(value) if name in _TEXTS else builder.CreateByteVector(value)
        if value is not None:
            values[name] = value
    getattr(module, f"{table}Start")(builder)
    for name, value in values.items():
        camel = "".join(part.capitalize() for part in name.split("_"))
        getattr(module, f"{table}Add{camel}")(builder, value)
    end: int = getattr(module, f"{table}End")(builder)
    return end


def hand_laid(
    kind: Kind,
    rows: Sequence[Row],
    api_key: bytes,
    *,
    layout: EventLayout = "plain",
    batch_id: int = 0,
    version: int = 100,
    schema_type: int | None = None,
    source_ip: bytes | None = None,
    shift: int = 0,
) -> bytes:
    """A batch laid out by hand. shift: so many bytes before `data`, to put its tables at odd addresses.

    An event's own key "layout" counts before the batch's `layout`.
    """
    number = SCHEMA_TYPES[kind] if schema_type is None else schema_type
    data = _hand_laid_data(kind, rows, layout)
    out = bytearray(4)
    fields: list[int | bytes | None] = [api_key, _U1(number), _U1(version), batch_id or None, data, source_ip]
    struct.pack_into("<I", out, 0, _lay_table(out, fields, shift=shift))
    return bytes(out)


class _U1(int):
    """A field of one byte; other ints take eight."""


class _Text(bytes):
    """Closed by a zero byte."""


def _hand_laid_data(kind: Kind, rows: Sequence[Row], layout: EventLayout) -> bytes:
    out = bytearray(struct.pack("<IHHHHiII", 12, 6, 8, 4, 0, 8, 4, len(rows)))
    slots_at = len(out)
    out += bytes(4 * len(rows))
    for i, row in enumerate(rows):
        fields = [_typed(kind, row, name) for name in _slots(kind, row.get("layout", layout))]
        slot = slots_at + 4 * i
        struct.pack_into("<I", out, slot, _lay_table(out, fields) - slot)
    return bytes(out)


def _typed(kind: Kind, row: Row, name: str) -> int | bytes | None:
    value = _value(kind, row, name)
    if value is not None and (kind.value, name) in _ENUMS:
        return _U1(value)
    return _Text(value) if value is not None and name in _TEXTS else value


def _lay_table(out: bytearray, fields: Sequence[int | bytes | None], shift: int = 0) -> int:
    """Append vtable, table and vectors; return the table's position. shift: bytes before the last vector."""
    _align(out)
    offsets, size = [], 4
    for field in fields:
        offsets.append(0 if field is None else size)
        size += 0 if field is None else 8 if type(field) is int else 4
    vtable = len(out)
    out += struct.pack(f"<HH{len(fields)}H", 4 + 2 * len(fields), size, *offsets)
    _align(out)
    table = len(out)
    out += struct.pack("<i", table - vtable) + bytes(size - 4)
    for field, offset in zip(fields, offsets, strict=True):
        at = table + offset
        if isinstance(field, _U1):
            out[at] = field
        elif isinstance(field, int):
            struct.pack_into("<Q", out, at, field)
        elif field is not None:
            _align(out)
            out += bytes(shift if len(field) != 16 else 0)
            struct.pack_into("<I", out, at, len(out) - at)
            out += struct.pack("<I", len(field)) + field + bytes(isinstance(field, _Text))
    return table


def _align(out: bytearray) -> None:
    out += bytes(-len(out) % 4)


class Template:
    """One batch, encoded once, whose rows get fresh numbers and timestamps each time.

    Wherever NUMBER stands in a row (in its payload, or as part of a text) it becomes the row's number.
    All rows have a timestamp.
    """

    def __init__(
        self, kind: Kind, rows: Sequence[Row], api_key: bytes, *, layout: EventLayout = "plain"
    ) -> None:
        marked = [{**row, "timestamp": _TIMESTAMP_MARK} for row in rows]
        body = hand_laid(kind, marked, api_key, layout=layout, batch_id=_BATCH_ID_MARK)
        self._body = np.frombuffer(body, np.uint8)
        self._batch_id_at = body.index(struct.pack("<Q", _BATCH_ID_MARK))
        self._timestamps_at = _all_of(struct.pack("<Q", _TIMESTAMP_MARK), body)
        self._numbers_at = _all_of(NUMBER, body)
        self._row_of_number = np.searchsorted(self._timestamps_at, self._numbers_at) - 1
        self._rows = len(rows)

    def body(self, first_number: int, timestamp_ms: int, batch_id: int = 0) -> bytes:
        """Rows numbered from first_number on; the timestamps count up by 1 ms from timestamp_ms."""
        out = self._body.copy()
        out[self._batch_id_at :][:8] = np.frombuffer(struct.pack("<Q", batch_id), np.uint8)
        stamps = timestamp_ms + np.arange(self._rows, dtype="<u8")
        out[self._timestamps_at[:, None] + np.arange(8)] = stamps.view(np.uint8).reshape(-1, 8)
        numbers = first_number + self._row_of_number
        digits = numbers[:, None] // _POWERS % 10 + ord("0")
        out[self._numbers_at[:, None] + np.arange(len(NUMBER))] = digits.astype(np.uint8)
        return out.tobytes()


_TIMESTAMP_MARK: Final = 0x7E57_1A3B_5C7D_0F21
_BATCH_ID_MARK: Final = 0x7E57_2B4C_6D8E_1A32
_POWERS: Final = 10 ** np.arange(len(NUMBER) - 1, -1, -1, dtype=np.int64)


def _all_of(word: bytes, body: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([found.start() for found in re.finditer(re.escape(word), body)], np.int64)
