"""Which field of a row stands in which slot of its table, and the column that it becomes."""

from types import MappingProxyType
from typing import Final, NamedTuple

import pyarrow as pa

from app.schema import EVENT_TYPES, LEVELS, LOG_EVENT_TYPES, Kind


class Enum(NamedTuple):
    """A number of one byte that stands for a name. `lowest`: the lowest number that is allowed."""

    column: str
    slot: int
    names: pa.StringArray
    lowest: int = 0


class Field(NamedTuple):
    column: str
    slot: int
    required: bool = False


class Layout(NamedTuple):
    """The slots of one kind of row.

    slots: how many there are. ids: of 16 bytes. texts: UTF-8. payload_is_json: whether the payload has to
    be JSON when payloads have to be. service: slot of the text that goes into the payload, or None.
    """

    slots: int
    timestamp: int
    payload: int
    enums: tuple[Enum, ...]
    ids: tuple[Field, ...]
    texts: tuple[Field, ...]
    payload_is_json: bool = True
    service: int | None = None


SERVICE_VTABLE_BYTES: Final = 18
"""An event whose vtable has so many bytes or more has the service layout, a smaller one the plain layout."""

SERVICE_EVENT: Final = Layout(
    slots=7,
    timestamp=1,
    payload=6,
    enums=(Enum("event_type", 0, pa.array(EVENT_TYPES), lowest=1),),
    ids=(Field("device_id", 3), Field("session_id", 4)),
    texts=(Field("event_name", 5),),
    service=2,
)

PLAIN_SLOTS: Final = (0, 1, 6, 2, 3, 4, 5)
"""For each slot of the service layout the slot of the plain layout; 6 is one that no plain event has."""

LAYOUTS: Final = MappingProxyType(
    {
        Kind.EVENTS: SERVICE_EVENT,
        Kind.LOGS: Layout(
            slots=7,
            timestamp=3,
            payload=6,
            enums=(Enum("level", 2, pa.array(LEVELS)), Enum("event_type", 0, pa.array(LOG_EVENT_TYPES))),
            ids=(Field("session_id", 1),),
            texts=(Field("source", 4), Field("service", 5)),
            # A log's payload may be a bare line of text.
            payload_is_json=False,
        ),
        Kind.SNAPSHOTS: Layout(
            slots=4,
            timestamp=0,
            payload=3,
            enums=(),
            ids=(),
            texts=(Field("source", 1, required=True), Field("entity", 2, required=True)),
        ),
    }
)
