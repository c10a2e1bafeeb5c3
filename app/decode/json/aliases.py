"""Aliases of the keys of a log: if a row lacks a key, the first alias that other loggers use is taken for it.

Only rows with unknown keys are examined, and only values that are valid for the key are used; all others stay
in the payload. docs/json.md has the table.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Raw

from app.decode.json.columns import Column, Others
from app.decode.json.levels import level_of
from app.decode.json.logger_words import ALIASES, Path
from app.decode.json.refusals import NULL
from app.decode.json.timestamps import is_a_time

Members = dict[str, Raw]

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


_FITS: Final[Mapping[str, Callable[[Raw], bool]]] = MappingProxyType(
    {
        "message": _is_text,
        "timestamp": is_a_time,
        "level": _is_a_level,
        "source": _is_text,
        "service": _is_text,
    }
)
_ANY_VALUE: Final = frozenset({"MESSAGE"})
"""journald writes a message that is not text as a list of byte values."""

_NAMED_BESIDE: Final = "hostname"
"""bunyan and pino write the service as `name`, together with the host name; elsewhere `name` can mean
anything."""

_KEYS: Final = frozenset(path[0] for paths in ALIASES.values() for path in paths)


def explain(columns: Mapping[str, Column], others: Others) -> None:
    """Move aliases from `others` to their columns; both are changed in place.

    columns: by key of LogRow, the JSON text of each row's value.
    """
    divided = b"{" in columns["service"].array and _divide_services(columns["service"], others)
    if others and not _KEYS.isdisjoint(chain.from_iterable(filter(None, others.members))):
        for row, members in enumerate(others.members):
            if members and not _KEYS.isdisjoint(members):
                others.changed.add(row)
                _explain_row(columns, members, row)
        for key in ALIASES:
            columns[key].measured()
    elif divided:
        columns["service"].measured()


def _explain_row(columns: Mapping[str, list[Raw]], members: Members, row: int) -> None:
    named_beside_host = _NAMED_BESIDE in members
    for column, paths in ALIASES.items():
        texts, fits = columns[column], _FITS[column]
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
    """Removes and returns the value at a path, if there is one and it fits."""
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


def _divide_services(services: Column, others: Others) -> bool:
    """ECS writes `service` as an object; its name is the service, the rest stays. Returns whether any row has
    one."""
    rows = [row for row, raw in enumerate(services) if bytes(raw).startswith(b"{")]
    for row in rows:
        members = others.of(row)
        members["service"] = services[row]
        services[row] = _take(members, ("service", "name"), _is_text) or NULL
    return bool(rows)
