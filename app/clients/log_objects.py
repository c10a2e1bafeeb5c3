"""Log records of loggers and agents: JSON objects whose keys have slightly different names in each."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from app.clients.lenient_json import Members, is_given, quoted, text_of
from app.clients.times import moment_ms
from app.decode.json.logger_words import ALIASES, OLDEST_MS, Path, level_of_word
from app.kinds import EVENT_TYPES

_ANY_MESSAGE: Final = frozenset({"message", "msg", "MESSAGE"})
"""What these hold is the message, whatever it is; the others must be texts."""

_FIRST: Final[Mapping[str, tuple[Path, ...]]] = MappingProxyType(
    {"timestamp": (("@timestamp",),), "service": (("service", "name"),)}
)
"""What counts before the key itself: agents write their time beside one that the program has written."""

_TIMES: Final = frozenset({"timestamp", "@timestamp"})
"""What these hold is a time, however early; under other names it may be a duration."""

T = TypeVar("T")

_members = msgspec.json.Decoder(Members).decode


def level_of(text: str | None) -> str | None:
    """The level that a client's word or number (pino's, or syslog's) means; None for anything else."""
    return None if text is None else level_of_word(text)


def names_of(key: str) -> tuple[str, ...]:
    """A key of the native format and those that stand for it, without those within objects."""
    return (key, *(path[0] for path in ALIASES[key] if len(path) == 1))


class LogLine:
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


def add_object(row: LogLine, record: Members) -> None:
    """Fills a row from a record: message, level, time, source and service if present, the rest flat.

    The record's own source, service and level also stay in the payload if the column cannot represent them
    completely.
    """
    row.message(_taken(record, "message", _message))
    row.level(_taken(record, "level", lambda name, value: level_of(text_of(value))))
    row.timestamp(_taken(record, "timestamp", _time))
    row.source(_taken(record, "source", _text))
    row.service(_taken(record, "service", _text))
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


def _taken(record: Members, key: str, read: Callable[[str, Raw], T | None]) -> T | None:
    """What the first of the names for a key says that `read` can read, by name and value.

    It is taken out, but within an object, which stays as it is.
    """
    for name, *within in (*_FIRST.get(key, ()), (key,), *ALIASES[key]):
        value = _inner(record, name, within[0]) if within else record.get(name)
        if value is not None and (found := read(name, value)) is not None:
            if not within:
                del record[name]
            return found
    return None


def _message(name: str, value: Raw) -> Raw | None:
    fits = name in _ANY_MESSAGE or bytes(value)[:1] == b'"'
    return value if fits and is_given(value) else None


def _time(name: str, value: Raw) -> int | None:
    time_ms = moment_ms(value)
    if time_ms is not None and time_ms < OLDEST_MS and name not in _TIMES:
        return None
    return time_ms


def _text(name: str, value: Raw) -> str | None:
    return text_of(value) if bytes(value)[:1] == b'"' else None


def _inner(record: Members, outer: str, name: str) -> Raw | None:
    value = record.get(outer)
    if value is None or bytes(value)[:1] != b"{":
        return None
    try:
        found: Members = _members(value)
    except msgspec.DecodeError:
        return None
    return found.get(name)
