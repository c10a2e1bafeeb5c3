"""What an OpenTelemetry log record becomes, whichever way it was encoded."""

from typing import Any, Final

import msgspec

from app.clients.call import Document, Rows
from app.clients.ids import is_uuid
from app.kinds import Kind

_LEVELS: Final = (
    "info",
    *(name for name in ("trace", "debug", "info", "warning", "error", "critical") for _ in range(4)),
)
"""By severity number; 0 is none."""

_encode = msgspec.json.Encoder().encode


class Origin(msgspec.Struct, frozen=True):
    """What the records of one scope have in common. resource, scope: to stand in the payload."""

    resource: dict[str, Any]
    scope: dict[str, Any]
    source: str | None
    service: str | None


def origin(resource: dict[str, Any], scope: dict[str, Any]) -> Origin:
    source = resource.get("host.name") or resource.get("service.instance.id")
    service = resource.get("service.name")
    return Origin(resource, scope, _text(source), _text(service))


class RecordWriter:
    """Adds records to a document, one after the other."""

    def __init__(self, document: Document) -> None:
        self._rows: Rows = document.of(Kind.LOGS)
        self._number = 0

    def add(
        self,
        where: Origin,
        time_ns: int,
        severity: int,
        body: Any,
        attributes: dict[str, Any],
        others: dict[str, Any],
    ) -> None:
        """time_ns: 0 for none. others: further members of the payload."""
        self._number += 1
        data: dict[str, Any] = {}
        if attributes:
            data["attributes"] = attributes
        if where.resource:
            data["resource"] = where.resource
        if where.scope:
            data["scope"] = where.scope
        if others:
            data |= others
        row: dict[str, Any] = {
            "message": "" if body is None else body,
            "level": _LEVELS[severity] if 0 <= severity < len(_LEVELS) else "info",
        }
        if time_ns > 0:
            row["timestamp"] = time_ns // 1_000_000
        if where.source is not None:
            row["source"] = where.source
        if where.service is not None:
            row["service"] = where.service
        session = attributes.get("session.id")
        if isinstance(session, str) and is_uuid(session):
            row["session_id"] = session
        row["data"] = data
        self._rows.add(self._number, _encode(row))

    def refuse(self, document: Document, field: str, message: str) -> None:
        self._number += 1
        document.refuse(self._number, field, message)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    return _encode(value).decode()
