"""Turns OpenTelemetry log records, in either encoding, into rows."""

from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from app.clients.call import Document, Rows
from app.clients.ids import is_uuid
from app.clients.repeated_keys import SHADOWED
from app.kinds import Kind

_LEVELS: Final = (
    "info",
    *(name for name in ("trace", "debug", "info", "warning", "error", "critical") for _ in range(4)),
)
"""By severity number; 0 means unspecified."""

_encode = msgspec.json.Encoder().encode


class OtlpScope(msgspec.Struct, frozen=True):
    """The common fields of the records of one scope. resource, scope: JSON objects for the payload."""

    resource: Raw | None
    scope: Raw | None
    source: str | None
    service: str | None


class Tags(NamedTuple):
    """Further members of a record; None if it has none."""

    trace_id: Any = None
    span_id: Any = None
    severity_text: Any = None
    event_name: Any = None
    flags: Any = None
    shadowed: Any = None


class _Data(msgspec.Struct, omit_defaults=True, gc=False, rename={"shadowed": SHADOWED}):
    attributes: dict[str, Any] = {}
    resource: Raw | None = None
    scope: Raw | None = None
    trace_id: Any = None
    span_id: Any = None
    severity_text: Any = None
    event_name: Any = None
    flags: Any = None
    shadowed: Any = None


class _Row(msgspec.Struct, omit_defaults=True, gc=False):
    message: Any
    level: str
    data: _Data
    timestamp: int = 0
    source: str | None = None
    service: str | None = None
    session_id: str | None = None


def origin(resource: dict[str, Any], scope: dict[str, Any]) -> OtlpScope:
    source = resource.get("host.name") or resource.get("service.instance.id")
    service = resource.get("service.name")
    return OtlpScope(
        Raw(_encode(resource)) if resource else None,
        Raw(_encode(scope)) if scope else None,
        _text(source),
        _text(service),
    )


class RecordWriter:
    """Adds records to a document, one after the other."""

    def __init__(self, document: Document) -> None:
        self._rows: Rows = document.of(Kind.LOGS)
        self._number = 0

    def add(
        self,
        where: OtlpScope,
        time_ns: int,
        severity: int,
        body: Any,
        attributes: dict[str, Any],
        tags: Tags,
    ) -> None:
        """time_ns: 0 for none."""
        self._number += 1
        session = attributes.get("session.id")
        row = _Row(
            "" if body is None else body,
            _LEVELS[severity] if 0 <= severity < len(_LEVELS) else "info",
            _Data(attributes, where.resource, where.scope, *tags),
            max(time_ns // 1_000_000, 0),
            where.source,
            where.service,
            session if isinstance(session, str) and is_uuid(session) else None,
        )
        self._rows.add(self._number, _encode(row))

    def refuse(self, document: Document, field: str, message: str) -> None:
        self._number += 1
        document.refuse(self._number, field, message)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    return _encode(value).decode()
