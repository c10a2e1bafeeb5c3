"""Which field of a row is in which slot of its table, and the column that it becomes."""

from types import MappingProxyType
from typing import Final, NamedTuple

import pyarrow as pa

from app.decode.flatbuffer.tables import Field
from app.kinds import EVENT_TYPES, LEVELS, LOG_EVENT_TYPES, Kind


class Enum(NamedTuple):
    """A one-byte number that encodes a name. `lowest`: the lowest allowed number."""

    field: Field
    names: pa.StringArray
    lowest: int = 0


class SlotLayout(NamedTuple):
    """The slots of one kind of row.

    Fields are named after their columns. slots: how many there are. ids: of 16 bytes. texts: UTF-8.
    required: the texts that every row must have. payload_is_json: whether the payload must be JSON if the
    policy requires it. service: a text that goes into the payload and has no column.
    """

    slots: int
    timestamp: Field
    payload: Field
    enums: tuple[Enum, ...] = ()
    ids: tuple[Field, ...] = ()
    texts: tuple[Field, ...] = ()
    required: tuple[Field, ...] = ()
    payload_is_json: bool = True
    service: Field | None = None


SERVICE_VTABLE_BYTES: Final = 18
"""An event whose vtable has at least this many bytes has the service layout, one with fewer the plain
layout."""

PLAIN_SLOTS: Final = (0, 1, 6, 2, 3, 4, 5)
"""For each slot of the service layout the slot of the plain layout; 6 is a slot that no plain event has."""

_SOURCE: Final = Field(1, "source")
_ENTITY: Final = Field(2, "entity")

LAYOUTS: Final = MappingProxyType(
    {
        Kind.EVENTS: SlotLayout(
            slots=7,
            timestamp=Field(1, "timestamp"),
            payload=Field(6, "payload"),
            enums=(Enum(Field(0, "event_type"), pa.array(EVENT_TYPES), lowest=1),),
            ids=(Field(3, "device_id"), Field(4, "session_id")),
            texts=(Field(5, "event_name"),),
            service=Field(2, "service"),
        ),
        Kind.LOGS: SlotLayout(
            slots=7,
            timestamp=Field(3, "timestamp"),
            payload=Field(6, "payload"),
            enums=(
                Enum(Field(2, "level"), pa.array(LEVELS)),
                Enum(Field(0, "event_type"), pa.array(LOG_EVENT_TYPES)),
            ),
            ids=(Field(1, "session_id"),),
            texts=(Field(4, "source"), Field(5, "service")),
            # A log's payload may be a bare line of text.
            payload_is_json=False,
        ),
        Kind.SNAPSHOTS: SlotLayout(
            slots=4,
            timestamp=Field(0, "timestamp"),
            payload=Field(3, "payload"),
            texts=(_SOURCE, _ENTITY),
            required=(_SOURCE, _ENTITY),
        ),
    }
)
"""Events in their service layout."""
