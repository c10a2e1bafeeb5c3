"""A mapping of custom JSON: which key is which column."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from app.kinds import Kind

KEY_OF: Final[Mapping[Kind, Mapping[str, str]]] = MappingProxyType(
    {
        Kind.LOGS: {
            "time": "timestamp",
            "level": "level",
            "message": "message",
            "source": "source",
            "service": "service",
            "session": "session_id",
        },
        Kind.EVENTS: {
            "time": "timestamp",
            "event": "event",
            "device": "device_id",
            "user": "user_id",
            "session": "session_id",
            "type": "type",
        },
        Kind.SNAPSHOTS: {"time": "timestamp", "source": "source", "entity": "entity"},
    }
)
"""The fields that can be mapped, by kind, and the native key that each becomes."""


class JsonMap(msgspec.Struct, frozen=True):
    """path: where such bodies are posted. has: a key that identifies them, if other bodies are posted to the
    path, too.

    keys: for each of KEY_OF, the client's key: of a member, or of one within objects, such as `request.id`.
    constants: default values, likewise.
    """

    path: str
    kind: Kind
    keys: Mapping[str, str]
    constants: Mapping[str, str]
    has: str = ""
