"""The rows of one kind: found and checked as positions, then copied into Arrow columns."""

from functools import partial
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.decode.flatbuffer.columns import gather, id_column, name_column, text_column, validity_of, views
from app.decode.flatbuffer.joined_bodies import JoinedBodies, Mask, Positions, every, some
from app.decode.flatbuffer.json_payload import repair_json, valid_json, why_not_json
from app.decode.flatbuffer.layouts import LAYOUTS, PLAIN_SLOTS, SERVICE_VTABLE_BYTES, Enum
from app.decode.flatbuffer.refusals import FlatBufferRefusals
from app.decode.flatbuffer.service import with_service
from app.decode.flatbuffer.tables import Faults, Regions, Spans, Tables
from app.decode.time_range import TimeRange
from app.kinds import ID_BYTES, Kind

_MAX_TIMESTAMP: Final = 2**63 - 1

_FIXED_BYTES: Final = 64
"""Approximate size of a row besides its strings, so that many rows without strings are not free."""

_ESCAPED_BYTES: Final = 6
"""The most bytes that one byte of a service name can become in JSON (\\u0000)."""


class FoundRows(NamedTuple):
    """Rows as numbers and positions; one entry per row in every array."""

    timestamps: npt.NDArray[np.uint64]
    enums: dict[str, npt.NDArray[np.uint8]]
    ids: dict[str, Spans]
    texts: dict[str, Spans]
    payload: Spans
    service: Spans | None

    def bytes_held(self) -> Positions:
        """The approximate maximum size of each decoded row."""
        held = self.payload.length + _FIXED_BYTES
        for spans in self.texts.values():
            held += spans.length
        if self.service is not None:
            held += self.service.length * _ESCAPED_BYTES
        return held

    def where(self, keep: Mask) -> "FoundRows":
        return FoundRows(
            self.timestamps[keep],
            {column: numbers[keep] for column, numbers in self.enums.items()},
            {column: spans.where(keep) for column, spans in self.ids.items()},
            {column: spans.where(keep) for column, spans in self.texts.items()},
            self.payload.where(keep),
            None if self.service is None else self.service.where(keep),
        )


def find_rows(
    kind: Kind,
    bodies: JoinedBodies,
    regions: Regions,
    at: Positions,
    faults: Faults,
    refusals: FlatBufferRefusals,
) -> FoundRows:
    """Read the tables at `at`. Fields out of bounds are added to `faults`, wrong values to `refusals`.

    Times are read but not checked yet: see `check_times`.
    """
    layout = LAYOUTS[kind]
    tables = Tables(bodies, regions, at, layout.slots, faults)
    if kind is Kind.EVENTS:
        plain = tables.vtable_bytes < SERVICE_VTABLE_BYTES
        if some(plain):
            tables.renumber(plain, PLAIN_SLOTS)
    timestamps = tables.u8(layout.timestamp)
    found = FoundRows(
        timestamps,
        {enum.field.name: tables.u1(enum.field) for enum in layout.enums},
        {field.name: tables.vector(field) for field in layout.ids},
        {field.name: tables.vector(field) for field in layout.texts},
        tables.vector(layout.payload),
        None if layout.service is None else tables.vector(layout.service),
    )
    _check_values(kind, found, bodies, refusals)
    return found


def check_times(
    found: FoundRows, received_ms: Positions, allowed: TimeRange, refusals: FlatBufferRefusals
) -> None:
    """Refuse the rows whose time is not allowed; 0 is none. received_ms: int64[rows]."""
    stamps = found.timestamps
    if stamps.size and allowed.all_inside(int(stamps.min()), int(stamps.max()), received_ms):
        return
    beyond = stamps > _MAX_TIMESTAMP
    if some(beyond):
        refusals.add(
            beyond, "timestamp", lambda i: f"{stamps[i]} is not a valid time; send ms since the epoch"
        )
    times = np.where((stamps == 0) | beyond, received_ms, stamps.view(np.int64))
    if (wrong := allowed.outside(times, received_ms)) is not None:
        refusals.add(
            wrong & ~beyond,
            "timestamp",
            lambda i: allowed.complaint(int(times[i]), "milliseconds", int(received_ms[i])),
        )


def _check_values(kind: Kind, found: FoundRows, bodies: JoinedBodies, refusals: FlatBufferRefusals) -> None:
    layout = LAYOUTS[kind]
    for enum in layout.enums:
        numbers = found.enums[enum.field.name]
        wrong = numbers >= len(enum.names)
        if enum.lowest:
            wrong |= numbers < enum.lowest
        refusals.add(wrong, enum.field.name, partial(_unknown_number, enum, numbers))
    for field in layout.ids:
        spans = found.ids[field.name]
        present = spans.length == ID_BYTES
        if every(present):
            continue
        refusals.add(~present & (spans.length != 0), field.name, partial(_not_16_bytes, spans))
        at = np.where(present, spans.start, bodies.void)
        found.ids[field.name] = Spans(at, spans.length, present)
    for field in layout.required:
        missing = ~found.texts[field.name].present
        refusals.add(missing, field.name, lambda i: "is required for a snapshot")


def _unknown_number(enum: Enum, numbers: npt.NDArray[np.uint8], index: int) -> str:
    allowed = ", ".join(f"{i} {name}" for i, name in enumerate(enum.names) if i >= enum.lowest)
    return f"unknown: {numbers[index]}; send one of {allowed}"


def _not_16_bytes(spans: Spans, index: int) -> str:
    return f"has {spans.length[index]} bytes; send 16 bytes, or none"


class Built(NamedTuple):
    """columns: the kind's own. right: per field which rows are valid; fields that are valid in all rows are
    left out. repairs: by reason, the indexes of rows whose payload was repaired."""

    columns: dict[str, pa.Array]
    right: dict[str, Mask]
    repairs: dict[str, Positions]


def build_columns(
    kind: Kind,
    bodies: JoinedBodies,
    found: FoundRows,
    received_ms: Positions,
    json_required: bool,
) -> Built:
    """The kind's own columns. The caller has checked all other values."""
    layout = LAYOUTS[kind]
    right: dict[str, Mask] = {}
    stamps = found.timestamps.view(np.int64)
    columns: dict[str, pa.Array] = {"timestamp": pa.array(np.where(stamps == 0, received_ms, stamps))}
    for enum in layout.enums:
        columns[enum.field.name] = name_column(found.enums[enum.field.name], enum.names)
    for column, spans in found.ids.items():
        columns[column] = id_column(bodies, spans.start, spans.present)
    for field in layout.texts:
        columns[field.name] = _text(bodies, field.name, found.texts[field.name], right)
    columns["payload"], repairs = _payload(kind, bodies, found, json_required, right)
    return Built(columns, right, repairs)


def _text(bodies: JoinedBodies, name: str, spans: Spans, right: dict[str, Mask]) -> pa.StringArray:
    column, valid = text_column(views(bodies.data, spans.start, spans.length, validity_of(spans.present)))
    if valid is not None:
        right[name] = valid
    return column


def _payload(
    kind: Kind, bodies: JoinedBodies, found: FoundRows, json_required: bool, right: dict[str, Mask]
) -> tuple[pa.BinaryArray, dict[str, Positions]]:
    spans = found.payload
    repairs: dict[str, Positions] = {}
    is_json: Mask | None = None
    json_required = json_required and LAYOUTS[kind].payload_is_json
    if json_required and not every(spans.present):
        # No payload at all is not a broken one: it says nothing, and so does {}.
        starts = np.where(spans.present, spans.start, bodies.empty_object)
        spans = Spans(starts, np.where(spans.present, spans.length, 2), spans.present)
    payload = gather(bodies.data, spans.start, spans.length)
    if json_required:
        is_json = valid_json(payload)
        if not every(is_json):
            payload, repairs = repair_json(payload, is_json)
        if not every(is_json):
            right["payload"] = is_json
    if found.service is not None and some(found.service.present):
        payload = with_service(payload, _text(bodies, "service", found.service, right), is_json)
    return payload, repairs


def refusal_text(bodies: JoinedBodies, field: str, spans: Spans, index: int) -> str:
    """Why build_columns found a row invalid."""
    start = int(spans.start[index])
    value = bodies.data[start : start + int(spans.length[index])]
    if field == "payload":
        return f"not valid JSON: {why_not_json(value)}"
    return "not UTF-8"
