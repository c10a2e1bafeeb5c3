"""Logs in JSON."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Raw

from app.decode.json.aliases import explain
from app.decode.json.columns import Column, Others
from app.decode.json.levels import read_levels
from app.decode.json.members import PayloadWriter, Places
from app.decode.json.refusals import ABSENT, NULL, JsonRefusals
from app.decode.json.texts import read_texts, read_words
from app.decode.json.timestamps import read_timestamps
from app.decode.json.uuids import read_ids
from app.kinds import LOG_EVENT_TYPES
from app.submission import DecodePolicy

_TYPES: Final[Mapping[str | None, str]] = MappingProxyType(
    {None: LOG_EVENT_TYPES[0], **{name: name for name in LOG_EVENT_TYPES}}
)
_PAYLOADS: Final = PayloadWriter(Places(named=("message",), objects=("data",), originals=("session_id",)))


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
    texts: Mapping[str, Column],
    others: Others,
    received_ms: np.ndarray,
    refusals: JsonRefusals,
    policy: DecodePolicy,
) -> dict[str, Any]:
    """The columns that a log's JSON fills, by name; rows in `refusals` hold anything.

    texts: by key of LogRow, the JSON text of each row's value. A message may be any value but null, since
        shippers send objects too.
    others: the other members of each row. received_ms: int64[rows].
    Keys of other loggers are moved from `others` to `texts`: both are changed.
    """
    explain(texts, others)
    for row, message in enumerate(texts["message"]):
        # Only `null` and `true` have four bytes among the texts that are no number and no string.
        if len(message) in (0, 4) and bytes(message) in (b"", b"null") and not _speaks_without(texts, row):
            refusals.refuse(row, "message", "is required: the text of the log")
    sessions = read_ids(texts["session_id"], "session_id", refusals, from_names=policy.ids_from_names)
    return {
        "timestamp": read_timestamps(texts["timestamp"], received_ms, refusals, policy.times),
        "level": read_levels(texts["level"], refusals),
        "event_type": pa.array(read_words(texts["type"], _TYPES, "type", refusals), pa.string()),
        "source": pa.array(read_texts(texts["source"], "source", refusals), pa.string()),
        "service": pa.array(read_texts(texts["service"], "service", refusals), pa.string()),
        "session_id": sessions.column,
        "payload": pa.array(_PAYLOADS.write(texts, others, {"session_id": sessions.originals}), pa.binary()),
    }


def _speaks_without(texts: Mapping[str, Column], row: int) -> bool:
    """Whether a row has a level and a time: pino writes no message if it was given none."""
    return all(bytes(texts[key][row]) not in (b"", b"null") for key in ("level", "timestamp"))
