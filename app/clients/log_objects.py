"""Log records of loggers and agents: JSON objects whose keys have slightly different names in each."""

from typing import Final

import msgspec
from msgspec import Raw

from app.clients.lenient_json import Members, is_given, quoted, text_of
from app.clients.times import moment_ms
from app.kinds import EVENT_TYPES, LEVELS

_MESSAGES: Final = ("message", "msg", "log", "MESSAGE")
_TIMES: Final = (
    "@timestamp",
    "timestamp",
    "time",
    "ts",
    "datetime",
    "Datetime",
    "date",
    "EdgeStartTimestamp",
)
_LEVEL_KEYS: Final = ("level", "log_level", "log.level", "severity", "detected_level", "lvl", "levelname")
_SOURCES: Final = ("source", "host", "hostname", "instance", "host.name")
_SERVICES: Final = ("service", "service_name", "service.name", "job", "app")

_NAMED: Final = {
    **{name: name for name in LEVELS},
    "emerg": "emergency",
    "panic": "emergency",
    "crit": "critical",
    "fatal": "critical",
    "err": "error",
    "severe": "error",
    "warn": "warning",
    "information": "info",
    "informational": "info",
    "log": "info",
    "default": "info",
    "verbose": "debug",
    "dbg": "debug",
    "fine": "debug",
    "silly": "trace",
    "finest": "trace",
}
_PINO: Final = {10: "trace", 20: "debug", 30: "info", 40: "warning", 50: "error", 60: "critical"}

_members = msgspec.json.Decoder(Members).decode


def level_of(text: str | None) -> str | None:
    """The level that a client's word or number (pino's, or syslog's) means; None for anything else."""
    if text is None:
        return None
    text = text.strip().lower()
    if text in _NAMED:
        return _NAMED[text]
    if not text.isascii() or not text.isdigit() or len(text) > 3:
        return None
    number = int(text)
    return LEVELS[number] if number < 8 else _PINO.get(number // 10 * 10)


class LogRow:
    """Writes one log in the native format."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []

    def message(self, value: bytes | Raw | None) -> None:
        """Any JSON value; null or no value becomes an empty text, since a log must have a message."""
        text = b"" if value is None else bytes(value)
        self._pieces.append(b'"message":%b' % (text if text not in (b"", b"null") else b'""'))

    def level(self, name: str | None) -> None:
        if name is not None:
            self._pieces.append(b'"level":"%b"' % name.encode())

    def timestamp(self, milliseconds: int | None) -> None:
        if milliseconds is not None:
            self._pieces.append(b'"timestamp":%d' % milliseconds)

    def source(self, text: str | None) -> None:
        if text:
            self._pieces.append(b'"source":' + quoted(text))

    def service(self, text: str | None) -> None:
        if text:
            self._pieces.append(b'"service":' + quoted(text))

    def member(self, name: str, value: bytes | Raw) -> None:
        """A member of the native format."""
        self._pieces.append(b"%b:%b" % (quoted(name), value))

    def add(self, name: str, value: bytes | Raw) -> None:
        """A further member of the payload."""
        self._data.append(b"%b:%b" % (quoted(name), value))

    def add_all(self, members: Members) -> None:
        for name, value in members.items():
            self._data.append(b"%b:%b" % (quoted(name), value))

    def line(self) -> bytes:
        if self._data:
            self._pieces.append(b'"data":{%b}' % b",".join(self._data))
        return b"{%b}" % b",".join(self._pieces)


def add_object(row: LogRow, record: Members) -> None:
    """Fills a row from a record: message, level, time, source and service if present, the rest flat.

    The record's own source, service and level also stay in the payload if the column cannot represent them
    completely.
    """
    row.message(_taken(record, _MESSAGES))
    for name in _LEVEL_KEYS:
        if name in record and (level := level_of(text_of(record[name]))) is not None:
            row.level(level)
            del record[name]
            break
    else:
        row.level(level_of(text_of(_inner(record, "log", "level"))))
    for name in _TIMES:
        if name in record and (time := moment_ms(record[name])) is not None:
            row.timestamp(time)
            del record[name]
            break
    row.source(_named(record, _SOURCES, "host"))
    row.service(_named(record, _SERVICES, "service"))
    row.add_all(record)


def is_event(record: Members) -> bool:
    """Whether a record is an event of the native format: with the protocol's `type`, and `event`."""
    kind = text_of(record.get("type"))
    return kind is not None and kind.lower() in EVENT_TYPES[1:] and is_given(record.get("event"))


def event_line(record: Members) -> bytes:
    """A native event as it is; `@timestamp` is its time if it has no other."""
    time = record.pop("@timestamp", None)
    if time is not None and "timestamp" not in record:
        record["timestamp"] = time
    return b"{%b}" % b",".join(b"%b:%b" % (quoted(name), value) for name, value in record.items())


def _taken(record: Members, names: tuple[str, ...]) -> Raw | None:
    for name in names:
        value = record.get(name)
        if is_given(value) and not (name == "log" and bytes(value)[:1] == b"{"):
            return record.pop(name)
    return None


def _named(record: Members, names: tuple[str, ...], outer: str) -> str | None:
    """Removes and returns the first of these that is a text; else returns the name within an object, which
    stays."""
    for name in names:
        value = record.get(name)
        if value is not None and bytes(value)[:1] == b'"' and (text := text_of(value)) is not None:
            del record[name]
            return text
    return text_of(_inner(record, outer, "name"))


def _inner(record: Members, outer: str, name: str) -> Raw | None:
    value = record.get(outer)
    if value is None or bytes(value)[:1] != b"{":
        return None
    try:
        found: Members = _members(value)
    except msgspec.DecodeError:
        return None
    return found.get(name)
