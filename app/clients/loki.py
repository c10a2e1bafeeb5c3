"""Loki's push: streams of lines with labels, as JSON or as a snappy protocol buffer."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from app.clients import loki_protobuf
from app.clients.call import (
    Call,
    ClientAnswer,
    ClientRequest,
    Document,
    Family,
    FixedCall,
    Guide,
    Outcome,
    patient_status,
    refused_text,
    retry_headers,
)
from app.clients.json_levels import Unreadable, no_object, read_levels
from app.clients.lenient_json import plain
from app.clients.log_objects import LogLine, level_of, names_of
from app.clients.times import NANOSECONDS_MIN, moment_ms, scaled_ms
from app.errors import MalformedBatch
from app.kinds import Kind

_LEVELS: Final = 4
"""Objects and arrays around an entry."""

_OF_A_STREAM: Final = frozenset({"values", "entries"})
_SOURCES: Final = ("host", "hostname", "instance")
_SERVICES: Final = ("service", "service_name", "job", "app")
"""What labels are called in Loki, in the order in which they count; the names of other loggers follow. A
label `source` often names a stream or a file, so it counts last."""

_encode = msgspec.json.Encoder().encode


def read(request: ClientRequest) -> Document:
    """Lines, numbered over all streams. Raises MalformedBatch."""
    document = Document()
    rows = document.of(Kind.LOGS)
    number = 0
    for labels, entries in _streams(request):
        for entry in entries:
            number += 1
            if isinstance(labels, str):
                document.refuse(number, "streams", labels)
            elif problem := _problem(entry):
                document.refuse(number, "values", problem)
            else:
                rows.add(number, _line(labels, entry))
    return document


def _streams(request: ClientRequest) -> Sequence[tuple[dict[str, Any] | str, list[Any]]]:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if "protobuf" in content_type:
        return loki_protobuf.streams(request)
    parsed = read_levels(request.body, _LEVELS, "streams")
    streams = parsed.get("streams") if isinstance(parsed, dict) else parsed
    if streams is None and isinstance(parsed, dict) and not _OF_A_STREAM.isdisjoint(parsed):
        streams = [parsed]
    elif isinstance(streams, dict):
        streams = [streams]
    if not isinstance(streams, list):
        raise MalformedBatch("the body must be one JSON object with `streams`, an array")
    return [_stream(stream) for stream in streams]


def _stream(stream: Any) -> tuple[dict[str, Any] | str, list[Any]]:
    """Its labels and entries; instead of the labels why they are none."""
    if not isinstance(stream, dict):
        return no_object(stream, "a stream"), [stream]
    labels, entries = stream.get("stream") or {}, stream.get("values") or []
    if not isinstance(entries, list):
        return "`values` must be an array", [entries]
    if "entries" in stream or "labels" in stream:
        labels, entries = _of_old_form(stream, labels, entries)
    return labels if isinstance(labels, dict) else "`stream` must be an object", entries


def _of_old_form(stream: dict[str, Any], labels: Any, entries: list[Any]) -> tuple[Any, list[Any]]:
    """Labels as text and entries as objects, as they were sent before Loki 1.0."""
    text, old = stream.get("labels"), stream.get("entries")
    if isinstance(text, str) and isinstance(labels, dict):
        labels = {**loki_protobuf.labels(text), **labels}
    if isinstance(old, list):
        entries = [*entries, *map(_old_entry, old)]
    elif old is not None:
        entries = [*entries, old]
    return labels, entries


def _old_entry(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    time_ms = moment_ms(msgspec.Raw(_encode(entry.get("ts"))))
    time_ns = None if time_ms is None else time_ms * 1_000_000
    return [
        time_ns,
        entry.get("line"),
        {key: each for key, each in entry.items() if key not in ("ts", "line")},
    ]


def _problem(entry: Any) -> str:
    if isinstance(entry, Unreadable):
        return entry.reason
    if not isinstance(entry, list | tuple) or len(entry) < 2:
        return "must be [nanoseconds, line]"
    if _time_ms(entry[0]) is None:
        return "the time must be nanoseconds since the epoch"
    return "" if entry[1] is not None else "the line must be a string"


def _time_ms(content: Any) -> int | None:
    """Nanoseconds, as a text or a number. A smaller number, or a date, is meant in another unit."""
    try:
        number = int(content)
    except (TypeError, ValueError, OverflowError):
        return None if content is None else moment_ms(msgspec.Raw(_encode(plain(content))))
    return number // 1_000_000 if number <= 0 or number >= NANOSECONDS_MIN else scaled_ms(number)


def _line(labels: dict[str, Any], entry: Any) -> bytes:
    row = LogLine()
    row.message(_encode(plain(entry[1])))
    row.level(
        next((level for name in names_of("level") if (level := level_of(_text(labels.get(name))))), None)
    )
    row.timestamp(_time_ms(entry[0]))
    row.source(_first(labels, (*_SOURCES, *names_of("source")[1:], "source")))
    row.service(_first(labels, (*_SERVICES, *names_of("service"))))
    if labels:
        row.add("labels", _encode(plain(labels)))
    for more in entry[2:]:
        for name, value in more.items() if isinstance(more, dict) else (("structured_metadata", more),):
            row.add(str(name), _encode(plain(value)))
    return row.line()


def _first(labels: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((text for name in names if (text := _text(labels.get(name)))), None)


def _text(value: Any) -> str | None:
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    return value if isinstance(value, str) else None if value is None else str(value)


def answer(outcome: Outcome, request: ClientRequest, document: Document | None) -> ClientAnswer:
    """Exactly 204 for stored lines; the protocol cannot name refused lines."""
    if outcome.is_receipt and not outcome.all_refused:
        return ClientAnswer(204)
    message = outcome.message or refused_text(outcome)
    status = patient_status(outcome.status)
    return ClientAnswer(status, message.encode(), "text/plain; charset=utf-8", retry_headers(outcome))


def ready(request: ClientRequest) -> ClientAnswer:
    return ClientAnswer(200, b"ready\n", "text/plain; charset=utf-8")


LOKI: Final = Family(
    "loki",
    "Loki push",
    read,
    answer,
    Guide(
        "python-logging-loki 0.3, pino-loki 2, winston-loki 6; Promtail and Grafana Alloy according to "
        "their documentation",
        "user name of HTTP Basic, or `Authorization: Bearer`; `X-Scope-OrgID` is not used as a key",
        "none: lines have no ids",
        'loki.write "sink" {\n'
        "  endpoint {\n"
        '    url = "https://sink.example.com/loki/api/v1/push"\n'
        '    basic_auth { username = "KEY" password = "" }\n'
        "  }\n"
        "}",
    ),
)

CALLS: Final = (Call("/loki/api/v1/push", LOKI), Call("/api/prom/push", LOKI))
FIXED: Final = (FixedCall("/loki/ready", ready),)
