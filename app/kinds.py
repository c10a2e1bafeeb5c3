"""The three kinds of rows, and the allowed values of their enumerated columns."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Kind(StrEnum):
    """The kind of a batch's rows; also the stem of its data files' names."""

    EVENTS = "events"
    LOGS = "logs"
    SNAPSHOTS = "snapshots"


ID_BYTES: Final = 16
"""Length of a device id, a session id, a source address and an API key."""


EVENT_TYPES: Final = ("unknown", "track", "identify", "group", "alias", "enrich", "context")
"""Names by wire number. `unknown` (0) is never stored: such a row is refused."""


LOG_EVENT_TYPES: Final = ("log", "log", "enrich")
"""Names by wire number; 0 (absent) means log."""


LEVELS: Final = (
    "emergency",
    "alert",
    "critical",
    "error",
    "warning",
    "notice",
    "info",
    "debug",
    "trace",
)
"""The eight severities of RFC 5424 by wire number, and trace."""


COLUMNS: Final = MappingProxyType(
    {
        Kind.EVENTS: (
            *("timestamp", "batch_timestamp", "workspace_id", "event_type", "event_name"),
            *("device_id", "session_id", "source_ip", "payload"),
        ),
        Kind.LOGS: (
            *("timestamp", "batch_timestamp", "workspace_id", "level", "event_type"),
            *("source", "service", "session_id", "source_ip", "payload"),
        ),
        Kind.SNAPSHOTS: (
            *("timestamp", "batch_timestamp", "workspace_id", "source", "entity", "source_ip", "payload"),
        ),
    }
)
"""The names of each kind's columns, in their order; `schema.py` gives them types."""
