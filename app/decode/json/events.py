"""Events in JSON."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw

from app.decode.json.columns import Column, Others
from app.decode.json.members import Members, PayloadWriter, Places
from app.decode.json.refusals import ABSENT, NULL, JsonRefusals
from app.decode.json.texts import read_texts, read_words
from app.decode.json.timestamps import read_timestamps
from app.decode.json.uuids import Ids, read_ids, with_names
from app.kinds import EVENT_TYPES
from app.submission import DecodePolicy

_TRACK: Final = "track"
_ANONYMOUS: Final = "anonymous_id"
_NOTHING: Final[Members] = MappingProxyType({})
_TYPES: Final[Mapping[str | None, str]] = MappingProxyType({name: name for name in EVENT_TYPES[1:]})
_PAYLOADS: Final = PayloadWriter(
    Places(
        named=("user_id", "group_id"),
        objects=("properties", "traits"),
        renamed=(("context", "_context"),),
        originals=("device_id", "session_id"),
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
    texts: Mapping[str, Column],
    others: Others,
    received_ms: np.ndarray,
    refusals: JsonRefusals,
    policy: DecodePolicy,
) -> dict[str, Any]:
    """The columns that an event's JSON fills, by name; rows in `refusals` hold anything.

    texts: by key of EventRow, the JSON text of each row's value.
    others: the other members of each row. received_ms: int64[rows].
    """
    types = read_words(texts["type"], _TYPES, "type", refusals)
    names = read_texts(texts["event"], "event", refusals)
    if None in names or "" in names:
        for row, name in enumerate(names):
            if not name and types[row] == _TRACK:
                refusals.refuse(row, "event", "is required for track events: the event's name")
    devices = _devices(texts, others, refusals, policy)
    sessions = read_ids(texts["session_id"], "session_id", refusals, from_names=policy.ids_from_names)
    originals = {"device_id": devices.originals, "session_id": sessions.originals}
    return {
        "timestamp": read_timestamps(texts["timestamp"], received_ms, refusals, policy.times),
        "event_type": pa.array(types, pa.string()),
        "event_name": pa.array([name or None for name in names], pa.string()),
        "device_id": devices.column,
        "session_id": sessions.column,
        "payload": pa.array(_PAYLOADS.write(texts, others, originals), pa.binary()),
    }


def _devices(
    texts: Mapping[str, Column],
    others: Others,
    refusals: JsonRefusals,
    policy: DecodePolicy,
) -> Ids:
    """Fills missing device ids with the anonymous id, else with an id derived from the user id."""
    ids = read_ids(texts["device_id"], "device_id", refusals, from_names=policy.ids_from_names)
    if not ids.column.null_count:
        return ids
    if others:
        anonymous = [(members or _NOTHING).get(_ANONYMOUS, ABSENT) for members in others.members]
        if any(anonymous):
            missing = ids.column.is_null().to_pylist()
            wanted = [raw if absent else ABSENT for raw, absent in zip(anonymous, missing, strict=True)]
            found = read_ids(wanted, _ANONYMOUS, refusals, from_names=policy.ids_from_names).column
            ids = Ids(pc.coalesce(ids.column, found), ids.originals)
    users = texts["user_id"]
    if policy.ids_from_names and ids.column.null_count and any(users):
        return with_names(ids, users)
    return ids
