"""What other people's loggers call the keys of a log: where a row lacks one, the first alias explains it.

Only rows with keys that the protocol does not know are looked at, and only values that make sense as what
they stand for are taken out of them; all others stay in the payload. docs/json.md has the table.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Raw

from app.decode.json.levels import level_of
from app.decode.json.timestamps import is_a_time

Members = dict[str, Raw]
Path = tuple[str, ...]

_members = msgspec.json.Decoder(Members).decode
_encode = msgspec.json.Encoder().encode


def _is_text(raw: Raw) -> bool:
    return len(raw) > len('""') and bytes(raw).startswith(b'"')


def _is_any(raw: Raw) -> bool:
    return bytes(raw) != b"null"


def _is_a_level(raw: Raw) -> bool:
    try:
        level_of(raw)
    except ValueError:
        return False
    return bytes(raw) != b"null"


_PATHS: Final[MappingProxyType[str, tuple[Callable[[Raw], bool], tuple[Path, ...]]]] = MappingProxyType(
    {
        "message": (
            _is_text,
            (
                ("msg",), ("log",), ("MESSAGE",), ("body",), ("fields", "message"), ("short_message",),
                ("event",),
            ),
        ),
        "timestamp": (
            is_a_time,
            (
                ("time",), ("ts",), ("@timestamp",), ("date",), ("__REALTIME_TIMESTAMP",), ("asctime",),
                ("datetime",),
            ),
        ),
        "level": (
            _is_a_level,
            (
                ("severity",), ("lvl",), ("log.level",), ("log", "level"), ("PRIORITY",), ("levelname",),
                ("log_level",), ("loglevel",), ("severity_text",),
            ),
        ),
        "source": (
            _is_text,
            (("host.name",), ("host", "name"), ("hostname",), ("host",), ("_HOSTNAME",), ("HOSTNAME",)),
        ),
        "service": (
            _is_text,
            (("service.name",), ("service_name",), ("SYSLOG_IDENTIFIER",), ("app",), ("application",)),
        ),
    }
)  # fmt: skip
_ANY_VALUE: Final = frozenset({"MESSAGE"})
"""journald writes a message that is no text as the numbers of its bytes."""

_NAMED_BESIDE: Final = "hostname"
"""bunyan and pino write the service as `name`, beside the host; elsewhere a name is anything."""

_KEYS: Final = frozenset(path[0] for _, paths in _PATHS.values() for path in paths)


def explain(columns: dict[str, list[Raw]], unknown: Sequence[Members | None]) -> None:
    """Move aliases from `unknown`, the rows' other members, to the columns that they stand for.

    columns: by key of LogRow, the JSON text of each row's value. Both are changed in place.
    """
    if not any(unknown) or _KEYS.isdisjoint(chain.from_iterable(filter(None, unknown))):
        return
    for row, members in enumerate(unknown):
        if members and not _KEYS.isdisjoint(members):
            _explain_row(columns, members, row)


def _explain_row(columns: dict[str, list[Raw]], members: Members, row: int) -> None:
    _divide_service(columns["service"], members, row)
    named_beside_host = _NAMED_BESIDE in members
    for column, (fits, paths) in _PATHS.items():
        texts = columns[column]
        if len(texts[row]) not in (0, 4) or bytes(texts[row]) not in (b"", b"null"):
            continue
        for path in paths:
            if (found := _take(members, path, _is_any if path[0] in _ANY_VALUE else fits)) is not None:
                texts[row] = found
                break
        else:
            if column == "service" and named_beside_host:
                texts[row] = _take(members, ("name",), _is_text) or texts[row]


def _take(members: Members, path: Path, fits: Callable[[Raw], bool]) -> Raw | None:
    """The value at a path, which is taken out, if there is one and it fits."""
    key, *rest = path
    raw = members.get(key)
    if raw is None:
        return None
    if not rest:
        if not fits(raw):
            return None
        return members.pop(key)
    if not bytes(raw).startswith(b"{"):
        return None
    inner = _members(raw)
    found = _take(inner, tuple(rest), fits)
    if found is None:
        return None
    if inner:
        members[key] = Raw(_encode(inner))
    else:
        del members[key]
    return found


def _divide_service(services: list[Raw], members: Members, row: int) -> None:
    """ECS writes `service` as an object; its name is the service, the rest stays."""
    if bytes(services[row]).startswith(b"{"):
        members["service"] = services[row]
        services[row] = _take(members, ("service", "name"), _is_text) or Raw(b"null")
