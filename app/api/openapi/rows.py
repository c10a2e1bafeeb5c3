"""The rows of the JSON calls, as JSON Schema, and examples that the service accepts."""

from typing import Any

from app.kinds import EVENT_TYPES, LEVELS, LOG_EVENT_TYPES, Kind

JsonObject = dict[str, Any]

_TIMESTAMP: JsonObject = {
    "description": "When it happened: seconds, milliseconds, microseconds or nanoseconds since the epoch, "
    "distinguished by magnitude, or RFC 3339 text, in UTC if it has no offset. Absent, null or the "
    "number 0: now.",
    "oneOf": [{"type": "number"}, {"type": "string"}],
}


def row_schema(kind: Kind) -> JsonObject:
    """The schema of one row of this kind."""
    return {Kind.EVENTS: _event, Kind.LOGS: _log, Kind.SNAPSHOTS: _snapshot}[kind]()


def row_examples(kind: Kind) -> list[JsonObject]:
    """Two example rows of this kind."""
    return {Kind.EVENTS: _event_examples, Kind.LOGS: _log_examples, Kind.SNAPSHOTS: _snapshot_examples}[
        kind
    ]()


def _object(description: str) -> JsonObject:
    return {"type": "object", "description": description, "additionalProperties": True}


def _uuid(description: str) -> JsonObject:
    text = (
        f"{description} A UUID; from any other text a name-based UUID is derived, and the text stays in the "
        "payload."
    )
    return {"type": "string", "description": text}


def _event() -> JsonObject:
    return {
        "type": "object",
        "title": "Event",
        "description": "The stored payload is one JSON object: user_id and group_id, the members of "
        "properties and of traits, every key that is not listed here, and context under `_context`.",
        "required": ["type"],
        "properties": {
            "type": {
                "type": "string",
                "enum": list(EVENT_TYPES[1:]),
                "description": "In upper or lower case.",
            },
            "device_id": _uuid("The device; default: `anonymous_id`, else an id derived from `user_id`."),
            "event": {"type": "string", "description": "The name of the event; required for `track`."},
            "session_id": _uuid("The session."),
            "timestamp": _TIMESTAMP,
            "user_id": {
                "type": "string",
                "description": "Stored in the payload; the `device_id` is derived from it if there is none.",
            },
            "group_id": {"type": "string", "description": "Stands in the payload."},
            "properties": _object("Becomes part of the payload."),
            "traits": _object("Becomes part of the payload."),
            "context": _object("Stored in the payload under `_context`."),
        },
        "additionalProperties": True,
    }


def _log() -> JsonObject:
    return {
        "type": "object",
        "title": "Log entry",
        "description": "The stored payload is `message`, followed by the members of `data`.",
        "required": ["message"],
        "properties": {
            "message": {"type": "string", "description": "The text of the log; stored in the payload."},
            "level": {
                "type": ["string", "integer"],
                "default": "info",
                "examples": [*LEVELS, "warn", 30],
                "description": "Levels of RFC 5424 and trace, words of other loggers, numbers of syslog and "
                "pino; stored under their full names. Other loggers' keys are recognised, too: docs/json.md.",
            },
            "type": {"type": "string", "enum": list(dict.fromkeys(LOG_EVENT_TYPES)), "default": "log"},
            "timestamp": _TIMESTAMP,
            "source": {"type": "string", "description": "The host or device that logged."},
            "service": {"type": "string", "description": "The program that logged."},
            "session_id": _uuid("The session."),
            "data": _object("Becomes part of the payload."),
        },
        "additionalProperties": True,
    }


def _snapshot() -> JsonObject:
    return {
        "type": "object",
        "title": "Snapshot",
        "required": ["source", "entity"],
        "properties": {
            "source": {"type": "string", "description": "Where the snapshot was taken."},
            "entity": {"type": "string", "description": "What the snapshot describes."},
            "timestamp": _TIMESTAMP,
            "payload": _object("The state."),
            "metrics": _object("Another name for the same field."),
        },
        "additionalProperties": True,
    }


def _event_examples() -> list[JsonObject]:
    device = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    return [
        {
            "type": "track",
            "event": "Order Completed",
            "device_id": device,
            "timestamp": 1790000000000,
            "properties": {"total": 49.9, "currency": "EUR"},
        },
        {"type": "identify", "device_id": device, "user_id": "u-17", "traits": {"plan": "pro"}},
    ]


def _log_examples() -> list[JsonObject]:
    return [
        {"level": "error", "message": "payment failed", "service": "checkout", "data": {"order": 17}},
        {"message": "started", "source": "web-1", "timestamp": "2026-09-21T13:46:40Z"},
    ]


def _snapshot_examples() -> list[JsonObject]:
    return [
        {"source": "github", "entity": "tell/parquet", "metrics": {"stars": 12, "forks": 3}},
        {"source": "stripe", "entity": "account", "payload": {"mrr": 1200}, "timestamp": 1790000000000},
    ]
