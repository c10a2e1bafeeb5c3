"""Rows in the form of GET /tail, and its filters."""

import datetime
import uuid
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from app.api.query import query_values
from app.commit.tap import Watched, of_workspace
from app.errors import RequestError
from app.kinds import Kind

COLUMNS: Final = (
    "event_name",
    "event_type",
    "level",
    "source",
    "service",
    "entity",
    "device_id",
    "session_id",
)
"""The columns that a filter may name; kinds that lack one of them are left out."""

NOT_FILTERS: Final = frozenset({"workspace_id", "token"})

IDS: Final = frozenset({"device_id", "session_id"})


class RowFilter(msgspec.Struct, frozen=True):
    """kinds: the kinds shown. equal: required value by column. contains: bytes required in the payload, may
    be empty."""

    kinds: frozenset[Kind]
    equal: Sequence[tuple[str, str | bytes]]
    contains: bytes = b""


def parse_filter(query_string: bytes) -> RowFilter:
    """`kind=events&event_name=signed_up&contains=pro`. Raises RequestError."""
    _refuse_unknown(query_string)
    names = [
        name
        for value in query_values(query_string, b"kind")
        for name in value.decode("utf-8", "replace").split(",")
        if name
    ]
    unknown = [name for name in names if name not in set(Kind)]
    if unknown:
        raise _invalid("kind", f"must be one of {', '.join(Kind)}")
    equal = [
        (column, _wanted(column, value.decode("utf-8", "replace")))
        for column in COLUMNS
        for value in query_values(query_string, column.encode())[-1:]
        if value
    ]
    contains = b"".join(query_values(query_string, b"contains")[-1:])
    return RowFilter(frozenset(map(Kind, names or Kind)), equal, contains)


def shown_rows(watched: Watched, workspace_id: int | None, wanted: RowFilter) -> Iterator[bytes]:
    """The JSON of each matching row."""
    if watched.kind not in wanted.kinds:
        return
    rows = watched.rows if workspace_id is None else of_workspace(watched.rows, workspace_id)
    rows = rows.slice(0, watched.take)
    names = set(rows.schema.names)
    for column, value in wanted.equal:
        if column not in names:
            return
        rows = rows.filter(pc.equal(rows.column(column), pa.scalar(value, rows.schema.field(column).type)))
    if wanted.contains:
        rows = rows.filter(pc.match_substring(rows.column("payload"), wanted.contains))
    for row in rows.to_pylist():
        yield orjson.dumps(_readable(watched.kind, row))


def _refuse_unknown(query_string: bytes) -> None:
    """Refuses unknown filters, which would otherwise show too many rows."""
    known = {"kind", "contains", *COLUMNS}
    for name, _ in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, encoding="latin-1"):
        if name not in known and name not in NOT_FILTERS and not name.startswith("_"):
            raise _invalid(name[:64], f"is not a filter; choose from: {', '.join(sorted(known))}")


def _wanted(column: str, value: str) -> str | bytes:
    if column not in IDS:
        return value
    try:
        return uuid.UUID(value).bytes
    except ValueError:
        raise _invalid(column, "is a UUID") from None


def _readable(kind: Kind, row: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"kind": kind.value}
    for name, value in row.items():
        if name == "batch_timestamp":
            shown["received_at"] = _time(value)
        elif name == "timestamp":
            shown[name] = _time(value)
        elif name == "workspace_id":
            shown["workspace"] = value
        elif name in IDS:
            shown[name] = None if value is None else str(uuid.UUID(bytes=value))
        elif name == "source_ip":
            address = IPv6Address(value)
            shown[name] = str(address.ipv4_mapped or address)
        elif name == "payload":
            shown[name] = _payload(value)
        else:
            shown[name] = value
    return shown


def _time(ms: int) -> Any:
    try:
        moment = datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return ms
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _payload(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value.decode("utf-8", "replace")


def _invalid(name: str, rule: str) -> RequestError:
    return RequestError(f"query parameter `{name}`: it {rule}.", code="invalid_parameter")
