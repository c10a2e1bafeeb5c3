"""Logs in JSON."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Raw

from app.decode.json.members import Members, PayloadWriter, Places
from app.decode.json.refusals import ABSENT, NULL, Refusals
from app.decode.json.texts import read_texts, read_words
from app.decode.json.timestamps import read_timestamps
from app.decode.json.uuids import read_uuids
from app.kinds import LEVELS, LOG_EVENT_TYPES

_LEVELS: Final[Mapping[str | None, str]] = MappingProxyType(
    {
        **{name: name for name in LEVELS},
        None: "info",
        "emerg": "emergency",
        "panic": "emergency",
        "crit": "critical",
        "fatal": "critical",
        "err": "error",
        "warn": "warning",
        "information": "info",
        "informational": "info",
        "dbg": "debug",
    }
)
_TYPES: Final[Mapping[str | None, str]] = MappingProxyType(
    {None: LOG_EVENT_TYPES[0], **{name: name for name in LOG_EVENT_TYPES}}
)
_PAYLOADS: Final = PayloadWriter(Places(named=("message",), objects=("data",)))


class LogRow(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The keys of a log, each with the text of its value."""

    message: Raw = ABSENT
    level: Raw = NULL
    timestamp: Raw = NULL
    source: Raw = NULL
    service: Raw = NULL
    session_id: Raw = ABSENT
    data: Raw = ABSENT
    type: Raw = NULL


def log_columns(
    texts: Mapping[str, Sequence[Raw]],
    unknown: Sequence[Members | None],
    received_ms: np.ndarray,
    refusals: Refusals,
) -> dict[str, Any]:
    """The columns that a log's JSON fills, by name; rows in `refusals` hold anything.

    texts: by key of LogRow, the JSON text of each row's value. A message may be any value but null, since
        shippers send objects too.
    unknown: the other members of each row. received_ms: int64[rows].
    """
    for row, message in enumerate(texts["message"]):
        # Only `null` and `true` have four bytes among the texts that are no number and no string.
        if len(message) in (0, 4) and bytes(message) in (b"", b"null"):
            refusals.refuse(row, "message", "is required: what is logged")
    return {
        "timestamp": read_timestamps(texts["timestamp"], received_ms, refusals),
        "level": pa.array(read_words(texts["level"], _LEVELS, "level", refusals), pa.string()),
        "event_type": pa.array(read_words(texts["type"], _TYPES, "type", refusals), pa.string()),
        "source": pa.array(read_texts(texts["source"], "source", refusals), pa.string()),
        "service": pa.array(read_texts(texts["service"], "service", refusals), pa.string()),
        "session_id": read_uuids(texts["session_id"], "session_id", refusals, required=False),
        "payload": pa.array(_PAYLOADS.write(texts, unknown, refusals), pa.binary()),
    }
