"""Which rows a request refers to: by stored ids, columns, or fields of the payload."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from uuid import UUID

from app.decode.name_based_ids import name_based_id
from app.kinds import COLUMNS
from app.parquet.promotion import parse_path
from app.parquet.wanted import Condition, Wanted

PAYLOAD: Final = "payload"
IDS: Final = ("device_id", "session_id")


def wanted_of(
    workspace_id: int | None, device: str | None, user: str | None, where: Mapping[str, str]
) -> Wanted:
    """device: a UUID, or a name that it was derived from. user: the payload's `user_id`. where: values by
    column or by `$.field`. Raises ValueError, whose message says what to write."""
    conditions = []
    if device is not None:
        conditions.append(Condition("device_id", (), _id(device)))
    if user is not None:
        conditions.append(Condition(PAYLOAD, ("user_id",), user))
    conditions += [_condition(name, value) for name, value in where.items()]
    if not conditions:
        raise ValueError("name the rows by `device`, `user` or `where`")
    return Wanted(workspace_id, tuple(conditions))


def _condition(name: str, value: str) -> Condition:
    if name.startswith("$"):
        return Condition(PAYLOAD, parse_path(name), value)
    known = sorted({each for names in COLUMNS.values() for each in names} - {PAYLOAD})
    if name not in known:
        raise ValueError(f'`where`: "{name}" must be one of {", ".join(known)}, or a field such as "$.plan"')
    if name in IDS:
        return Condition(name, (), _id(value))
    if name == "source_ip":
        return Condition(name, (), _address(value))
    if name in ("timestamp", "batch_timestamp", "workspace_id"):
        try:
            return Condition(name, (), int(value))
        except ValueError:
            raise ValueError(f'`where`: {name} must be a number, not "{value}"') from None
    return Condition(name, (), value)


def _id(text: str) -> bytes:
    if not text:
        raise ValueError("an id is empty")
    try:
        return UUID(text).bytes
    except ValueError:
        return name_based_id(text).bytes


def _address(text: str) -> bytes:
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        raise ValueError(f'`where`: source_ip "{text}" is not an IP address') from None
    return address.packed if isinstance(address, IPv6Address) else bytes(10) + b"\xff\xff" + address.packed
