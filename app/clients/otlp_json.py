"""OpenTelemetry logs as JSON, parsed by hand, since the protocol's own parser refuses what JavaScript sends.

Ids are hex, whole numbers are numbers or text and can be 1e300, null means NaN, names are written in either
case (`logRecords`, `log_records`), and unknown members are ignored.
"""

from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Raw

from app.clients.call import Document
from app.clients.json_levels import no_object, read_levels
from app.clients.otlp_records import RecordWriter, Tags, origin
from app.clients.repeated_keys import REPEATED, SHADOWED, Earlier, Merged, free_name, merged_pairs
from app.clients.times import NANOSECONDS_MIN, moment_ms
from app.errors import MalformedBatch

_SEVERITIES: Final = {
    f"SEVERITY_NUMBER_{name}{number or ''}": 1 + 4 * index + (number or 1) - 1
    for index, name in enumerate(("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"))
    for number in (0, 2, 3, 4)
}
_OTHERS: Final = MappingProxyType(
    {
        "traceId": "trace_id",
        "spanId": "span_id",
        "severityText": "severity_text",
        "eventName": "event_name",
        "flags": "flags",
        SHADOWED: "shadowed",
        **{name: name for name in ("trace_id", "span_id", "severity_text", "event_name")},
    }
)
"""Further members of a record, and what they are called in the payload."""

_KINDS: Final = frozenset(
    f"{name}{end}"
    for name in ("string", "bool", "bytes", "double", "int", "array", "kvlist")
    for end in ("Value", "_value")
)
_OF_A_RESOURCE: Final = frozenset({"droppedAttributesCount", "schemaUrl", "entityRefs", SHADOWED})
_TOP: Final = ("resourceLogs", "resource_logs")
_DEPTH_MAX: Final = 100
"""Nesting depth of one value, the same limit as in protocol buffers."""

_encode = msgspec.json.Encoder().encode

_LEVELS: Final = 6
"""Objects and arrays around a record."""


def read(body: bytes) -> Document:
    """Raises MalformedBatch."""
    document = Document()
    writer = RecordWriter(document)
    parsed = read_levels(body, _LEVELS, "resourceLogs")
    if isinstance(parsed, list):
        parsed = {"resourceLogs": [each for one in parsed for each in _listed(one, *_TOP)]}
    if not isinstance(parsed, dict):
        raise MalformedBatch("the body must be one JSON object with resourceLogs")
    if isinstance(parsed, Merged):
        _lift_earlier(parsed)
    for resource_logs in _listed(parsed, *_TOP):
        if not isinstance(resource_logs, dict):
            writer.refuse(document, "resourceLogs", no_object(resource_logs, "each element"))
            continue
        resource = _resource(_member(resource_logs, "resource"))
        for scope_logs in _scopes(resource_logs):
            if not isinstance(scope_logs, dict):
                writer.refuse(document, "scopeLogs", no_object(scope_logs, "each element"))
                continue
            where = origin(
                resource,
                _scope(_scope_of(scope_logs)),
            )
            for record in _listed(scope_logs, "logRecords", "log_records"):
                if not isinstance(record, dict):
                    writer.refuse(document, "", no_object(record, "a log record"))
                    continue
                time_ns = _time_ns(_either(record, "timeUnixNano", "time_unix_nano")) or _time_ns(
                    _either(record, "observedTimeUnixNano", "observed_time_unix_nano")
                )
                writer.add(
                    where,
                    time_ns,
                    _severity(_either(record, "severityNumber", "severity_number")),
                    _value(record.get("body")),
                    _pairs(record.get("attributes")),
                    _tags(record),
                )
    return document


def _scopes(resource_logs: Any) -> list[Any]:
    """Also under the name of versions before 1.0."""
    found = _listed(resource_logs, "scopeLogs", "scope_logs")
    old = resource_logs.get("instrumentationLibraryLogs") if isinstance(resource_logs, dict) else None
    return found if old is None else [*found, *_as_list(old)]


def _scope_of(scope_logs: Any) -> dict[str, Any]:
    return _member(scope_logs, "scope") or _member(scope_logs, "instrumentationLibrary")


def _lift_earlier(parsed: dict[str, Any]) -> None:
    """Moves the earlier values of repeated keys, however deep, to their resource, scope or record."""
    for resource_logs in _listed(parsed, *_TOP):
        _lift(_member(resource_logs, "resource"))
        for scope_logs in _scopes(resource_logs):
            _lift(_scope_of(scope_logs))
            for record in _listed(scope_logs, "logRecords", "log_records"):
                if isinstance(record, dict):
                    _lift(record)


def _lift(part: dict[str, Any]) -> None:
    earlier: dict[str, Any] = {}
    _take_earlier(part, "", earlier)
    if earlier:
        part[SHADOWED] = {REPEATED: earlier}


def _take_earlier(value: Any, path: str, taken: dict[str, Any]) -> None:
    """Removes the earlier values in a value; they are named by their place, as `body.stringValue`."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            _take_earlier(each, f"{path}{number}.", taken)
    elif isinstance(value, dict):
        for name, each in list(value.items()):
            if isinstance(each, Earlier):
                taken.update({path + key: kept for key, kept in each[REPEATED].items()})
                del value[name]
            else:
                _take_earlier(each, f"{path}{name}.", taken)


def _either(parent: dict[str, Any], name: str, other: str) -> Any:
    found = parent.get(name)
    return parent.get(other) if found is None else found


def _listed(parent: Any, name: str, other: str) -> list[Any]:
    """The elements of a list under one of its names, or both; anything else but null is a list of one."""
    if not isinstance(parent, dict):
        return []
    found = parent.get(name)
    if other in parent:
        return [*_as_list(found), *_as_list(parent[other])]
    return found if isinstance(found, list) else _as_list(found)


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _member(parent: Any, name: str) -> dict[str, Any]:
    found = parent.get(name) if isinstance(parent, dict) else None
    return found if isinstance(found, dict) else {}


def _resource(resource: dict[str, Any]) -> dict[str, Any]:
    found = _pairs(resource.get("attributes"))
    if "attributes" not in resource:
        found = {name: value for name, value in resource.items() if name not in _OF_A_RESOURCE}
    if SHADOWED in resource:
        found[free_name(found)] = resource[SHADOWED]
    return found


def _pairs(pairs: Any, depth: int = 0) -> dict[str, Any]:
    """Attributes: a list of keys and values, or one object of them."""
    if isinstance(pairs, dict):
        return {key: _value(value, depth) if _is_any_value(value) else value for key, value in pairs.items()}
    if not isinstance(pairs, list):
        return {}
    found: dict[str, Any] = {}
    for pair in pairs:
        if isinstance(pair, dict) and "key" in pair:
            value = pair.get("value")
            if isinstance(value, dict) and len(value) == 1 and "stringValue" in value:
                found[str(pair["key"])] = value["stringValue"]
            else:
                found[str(pair["key"])] = _value(value, depth)
    if len(found) == len(pairs):
        return found
    keyed = [pair for pair in pairs if isinstance(pair, dict) and "key" in pair]
    return merged_pairs((str(pair["key"]), _value(pair.get("value"), depth)) for pair in keyed)


def _is_any_value(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and not _KINDS.isdisjoint(value)


def _value(value: Any, depth: int = 0) -> Any:
    if not isinstance(value, dict):
        return value
    if depth > _DEPTH_MAX:
        return None
    if len(value) > 1 and len(_KINDS & value.keys()) > 1:
        return value
    for name, content in value.items():
        match name:
            case "stringValue" | "boolValue" | "bytesValue" | "doubleValue":
                return content
            case "intValue" | "int_value":
                return _whole(content)
            case "arrayValue" | "array_value":
                values = content.get("values") if isinstance(content, dict) else None
                return [_value(each, depth + 1) for each in values] if isinstance(values, list) else []
            case "string_value" | "bool_value" | "bytes_value" | "double_value":
                return content
            case "kvlistValue" | "kvlist_value":
                return _pairs(content.get("values") if isinstance(content, dict) else None, depth + 1)
    return value or None  # an object that is meant as one


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


def _time_ns(content: Any) -> int:
    """Nanoseconds; 0 for none. A smaller number, or a date, is meant in another unit."""
    number = _integer(content)
    if number >= NANOSECONDS_MIN or not content:
        return number
    time_ms = moment_ms(Raw(_encode(content)))
    return 0 if time_ms is None else time_ms * 1_000_000


def _severity(content: Any) -> int:
    if isinstance(content, str) and not content.isdecimal():
        name = content.upper()
        return _SEVERITIES.get(name) or _SEVERITIES.get(f"SEVERITY_NUMBER_{name}") or _integer(content)
    return _integer(content)


def _scope(scope: dict[str, Any]) -> dict[str, Any]:
    found = {name: scope[name] for name in ("name", "version") if scope.get(name)}
    if attributes := _pairs(scope.get("attributes")):
        found["attributes"] = attributes
    if SHADOWED in scope:
        found[SHADOWED] = scope[SHADOWED]
    return found


def _tags(record: dict[str, Any]) -> Tags:
    found = {_OTHERS[name]: value for name, value in record.items() if name in _OTHERS and value}
    for column in ("trace_id", "span_id"):
        if isinstance(found.get(column), str):
            found[column] = found[column].lower()
    return Tags(**found)
