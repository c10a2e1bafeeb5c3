"""OpenTelemetry logs as JSON, parsed by hand, since the protocol's own parser refuses what JavaScript sends.

Ids are hex, whole numbers are numbers or text and can be 1e300, null means NaN, and unknown members are
ignored.
"""

from typing import Any, Final

import msgspec

from app.clients.call import Document
from app.clients.lenient_json import no_object, read_levels
from app.clients.otlp_records import RecordWriter, Tags, origin
from app.errors import MalformedBatch

_SEVERITIES: Final = {
    f"SEVERITY_NUMBER_{name}{number or ''}": 1 + 4 * index + (number or 1) - 1
    for index, name in enumerate(("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"))
    for number in (0, 2, 3, 4)
}
_DEPTH_MAX: Final = 100
"""Nesting depth of one value, the same limit as in protocol buffers."""

_LEVELS: Final = 6
"""Objects and arrays around a record."""

_decode = msgspec.json.Decoder().decode


def read(body: bytes) -> Document:
    """Raises MalformedBatch."""
    document = Document()
    writer = RecordWriter(document)
    for resource_logs in _listed(_parsed(body), "resourceLogs", "resource_logs"):
        resource = _attributes(_member(resource_logs, "resource"))
        for scope_logs in _listed(resource_logs, "scopeLogs", "scope_logs"):
            where = origin(resource, _scope(_member(scope_logs, "scope")))
            for record in _listed(scope_logs, "logRecords", "log_records"):
                if not isinstance(record, dict):
                    writer.refuse(document, "", no_object(record, "a log record"))
                    continue
                time_ns = _integer(record.get("timeUnixNano")) or _integer(record.get("observedTimeUnixNano"))
                writer.add(
                    where,
                    time_ns,
                    _severity(record.get("severityNumber")),
                    _value(record.get("body")),
                    _attributes(record),
                    _tags(record),
                )
    return document


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        parsed = read_levels(body, _LEVELS)
    if not isinstance(parsed, dict):
        raise MalformedBatch("the body must be one JSON object with resourceLogs")
    return parsed


def _listed(parent: Any, name: str, other: str) -> list[Any]:
    if not isinstance(parent, dict):
        return []
    found = parent.get(name) or parent.get(other)
    return found if isinstance(found, list) else []


def _member(parent: Any, name: str) -> dict[str, Any]:
    found = parent.get(name) if isinstance(parent, dict) else None
    return found if isinstance(found, dict) else {}


def _attributes(parent: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    return _pairs(parent.get("attributes"), depth)


def _pairs(pairs: Any, depth: int) -> dict[str, Any]:
    if not isinstance(pairs, list):
        return {}
    return {
        str(pair["key"]): _value(pair.get("value"), depth)
        for pair in pairs
        if isinstance(pair, dict) and "key" in pair
    }


def _value(value: Any, depth: int = 0) -> Any:
    if not isinstance(value, dict):
        return value
    if depth > _DEPTH_MAX:
        return None
    for name, content in value.items():
        match name:
            case "stringValue" | "boolValue" | "bytesValue" | "doubleValue":
                return content
            case "intValue":
                return _whole(content)
            case "arrayValue":
                values = content.get("values") if isinstance(content, dict) else None
                return [_value(each, depth + 1) for each in values] if isinstance(values, list) else []
            case "kvlistValue":
                return _pairs(content.get("values") if isinstance(content, dict) else None, depth + 1)
    return None


def _whole(content: Any) -> Any:
    """A whole number from a number or a text; other values stay unchanged."""
    if not isinstance(content, str):
        return content
    try:
        number = int(content)
    except ValueError:
        return content
    return number if -(1 << 63) <= number < 1 << 64 else content


def _integer(content: Any) -> int:
    try:
        return int(content)
    except (TypeError, ValueError, OverflowError):
        return 0


def _severity(content: Any) -> int:
    return (
        _SEVERITIES.get(content, 0) if isinstance(content, str) and content[:1] == "S" else _integer(content)
    )


def _scope(scope: dict[str, Any]) -> dict[str, Any]:
    found = {name: scope[name] for name in ("name", "version") if scope.get(name)}
    if attributes := _attributes(scope):
        found["attributes"] = attributes
    return found


def _tags(record: dict[str, Any]) -> Tags:
    named = (
        ("traceId", "trace_id"),
        ("spanId", "span_id"),
        ("severityText", "severity_text"),
        ("eventName", "event_name"),
        ("flags", "flags"),
    )
    found = {column: record[name] for name, column in named if record.get(name)}
    for column in ("trace_id", "span_id"):
        if isinstance(found.get(column), str):
            found[column] = found[column].lower()
    return Tags(**found)
