"""Rows as clients write them in JSON, and what must stand in the columns afterwards."""

import uuid
from collections.abc import Iterable
from typing import Any, Final

import orjson
import pyarrow as pa

DEVICE: Final = "550e8400-e29b-41d4-a716-446655440000"
SESSION: Final = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
TIMESTAMP_MS: Final = 1_700_000_000_123


def event(number: int, **fields: Any) -> dict[str, Any]:
    """A track event that is told from all others by `properties.number`."""
    return {
        "type": "track",
        "event": "page_view",
        "device_id": DEVICE,
        "session_id": SESSION,
        "timestamp": TIMESTAMP_MS + number,
        "properties": {"number": number},
        **fields,
    }


def log_line(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "message": f"line {number}",
        "level": "error",
        "source": "host-1",
        "service": "api",
        "timestamp": TIMESTAMP_MS + number,
        "data": {"number": number},
        **fields,
    }


def snapshot(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "source": "github",
        "entity": "user/repo",
        "timestamp": TIMESTAMP_MS + number,
        "payload": {"number": number},
        **fields,
    }


ROW_OF: Final = {"events": event, "logs": log_line, "snapshots": snapshot}
"""The row builder of each JSON call."""


def json_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def numbers(table: pa.Table) -> list[int]:
    """The row numbers in the payloads of a table, in the order of its rows."""
    return [orjson.loads(payload)["number"] for payload in table["payload"].to_pylist()]


def payloads(table: pa.Table) -> list[dict[str, Any]]:
    return [orjson.loads(payload) for payload in table["payload"].to_pylist()]


def uuid_bytes(text: str) -> bytes:
    return uuid.UUID(text).bytes
