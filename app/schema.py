"""The three kinds of rows and their columns.

The order of the columns is part of the contract: columns that queries filter by come first, the payload last.
New columns are only ever added at the end, nullable.
"""

from types import MappingProxyType
from typing import Final

import pyarrow as pa

from app.kinds import ID_BYTES, Kind


def _required(name: str, type_: pa.DataType) -> pa.Field:
    return pa.field(name, type_, nullable=False)


_MILLISECONDS = pa.int64()
_ID = pa.binary(ID_BYTES)

_HEAD = (
    _required("timestamp", _MILLISECONDS),
    _required("batch_timestamp", _MILLISECONDS),
    _required("workspace_id", pa.uint64()),
)

SCHEMAS: Final = MappingProxyType(
    {
        Kind.EVENTS: pa.schema(
            [
                *_HEAD,
                _required("event_type", pa.string()),
                pa.field("event_name", pa.string()),
                pa.field("device_id", _ID),
                pa.field("session_id", _ID),
                _required("source_ip", _ID),
                _required("payload", pa.binary()),
            ]
        ),
        Kind.LOGS: pa.schema(
            [
                *_HEAD,
                _required("level", pa.string()),
                _required("event_type", pa.string()),
                pa.field("source", pa.string()),
                pa.field("service", pa.string()),
                pa.field("session_id", _ID),
                _required("source_ip", _ID),
                _required("payload", pa.binary()),
            ]
        ),
        Kind.SNAPSHOTS: pa.schema(
            [
                *_HEAD,
                _required("source", pa.string()),
                _required("entity", pa.string()),
                _required("source_ip", _ID),
                _required("payload", pa.binary()),
            ]
        ),
    }
)
