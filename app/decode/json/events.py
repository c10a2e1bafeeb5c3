"""Events in JSON."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Raw

from app.decode.json.members import Members, PayloadWriter, Places
from app.decode.json.refusals import ABSENT, NULL, Refusals
from app.decode.json.texts import read_texts, read_words
from app.decode.json.timestamps import read_timestamps
from app.decode.json.uuids import read_uuids
from app.kinds import EVENT_TYPES

_TRACK: Final = "track"
_TYPES: Final[Mapping[str | None, str]] = MappingProxyType({name: name for name in EVENT_TYPES[1:]})
_PAYLOADS: Final = PayloadWriter(
    Places(
        named=("user_id", "group_id"),
        objects=("properties", "traits"),
        renamed=(("context", "_context"),),
    )
)


class EventRow(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The keys of an event, each with the text of its value."""

    type: Raw = NULL
    event: Raw = NULL
    device_id: Raw = ABSENT
    session_id: Raw = ABSENT
    timestamp: Raw = NULL
    user_id: Raw = ABSENT
    group_id: Raw = ABSENT
    properties: Raw = ABSENT
    traits: Raw = ABSENT
    context: Raw = ABSENT


def event_columns(
    texts: Mapping[str, Sequence[Raw]],
    unknown: Sequence[Members | None],
    received_ms: np.ndarray,
    refusals: Refusals,
) -> dict[str, Any]:
    """The columns that an event's JSON fills, by name; rows in `refusals` hold anything.

    texts: by key of EventRow, the JSON text of each row's value.
    unknown: the other members of each row. received_ms: int64[rows].
    """
    types = read_words(texts["type"], _TYPES, "type", refusals)
    names = read_texts(texts["event"], "event", refusals)
    if None in names or "" in names:
        for row, name in enumerate(names):
            if not name and types[row] == _TRACK:
                refusals.refuse(row, "event", "is required for track: the event's name")
    return {
        "timestamp": read_timestamps(texts["timestamp"], received_ms, refusals),
        "event_type": pa.array(types, pa.string()),
        "event_name": pa.array([name or None for name in names], pa.string()),
        "device_id": read_uuids(texts["device_id"], "device_id", refusals, required=True),
        "session_id": read_uuids(texts["session_id"], "session_id", refusals, required=False),
        "payload": pa.array(_PAYLOADS.write(texts, unknown, refusals), pa.binary()),
    }
