"""Writes one event in the native format."""

from msgspec import Raw

from app.clients.ids import uuid_or_named
from app.clients.lenient_json import Members, is_given, name_of, quoted, text_of
from app.clients.times import moment_ms


class EventLine:
    """Members are written in the order in which they are added."""

    def __init__(self, type_name: str) -> None:
        self._pieces = [b'"type":"%b"' % type_name.encode()]
        self._properties: list[bytes] = []

    def event(self, name: Raw | None) -> None:
        if name is not None:
            self._pieces.append(b'"event":%b' % name_of(name))

    def time_in(self, members: Members, name: str) -> int | None:
        """The time that a member gives, in ms. One that is none is kept in the payload."""
        value = members.pop(name, None)
        time = moment_ms(value)
        if time is None and is_given(value):
            self._properties.append(b"%b:%b" % (quoted(name), value))
        return time

    def timestamp(self, milliseconds: int | None) -> None:
        if milliseconds is not None:
            self._pieces.append(b'"timestamp":%d' % milliseconds)

    def device(self, *candidates: Raw | None) -> str | None:
        """The id from the first non-empty value: a UUID as it is, or one derived from a name. Returns its
        text."""
        for candidate in candidates:
            if (text := text_of(candidate)) is not None:
                self._pieces.append(b'"device_id":' + uuid_or_named(text))
                return text
        return None

    def session(self, value: Raw | None) -> None:
        if (text := text_of(value)) is not None:
            self._pieces.append(b'"session_id":' + uuid_or_named(text))

    def add(self, name: str, value: Raw | None) -> None:
        """Adds a member next to the properties, unless it is empty."""
        if is_given(value):
            self._pieces.append(b"%b:%b" % (quoted(name), value))

    def properties(self, members: Members) -> None:
        """Members of the payload."""
        for name, value in members.items():
            self._properties.append(b"%b:%b" % (quoted(name), value))

    def line(self) -> bytes:
        if self._properties:
            self._pieces.append(b'"properties":{%b}' % b",".join(self._properties))
        return b"{%b}" % b",".join(self._pieces)
