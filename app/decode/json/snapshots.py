"""Snapshots in JSON."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Raw

from app.decode.json.columns import Column, Others
from app.decode.json.members import PayloadWriter, Places
from app.decode.json.refusals import ABSENT, NULL, JsonRefusals
from app.decode.json.texts import read_required_texts
from app.decode.json.timestamps import read_timestamps
from app.submission import DecodePolicy

_PAYLOADS: Final = PayloadWriter(Places(objects=("payload", "metrics")))


class SnapshotRow(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The keys of a snapshot, each with the text of its value."""

    source: Raw = NULL
    entity: Raw = NULL
    timestamp: Raw = NULL
    payload: Raw = ABSENT
    metrics: Raw = ABSENT


def snapshot_columns(
    texts: Mapping[str, Column],
    others: Others,
    received_ms: np.ndarray,
    refusals: JsonRefusals,
    policy: DecodePolicy,
) -> dict[str, Any]:
    """The columns that a snapshot's JSON fills, by name; rows in `refusals` hold anything.

    texts: by key of SnapshotRow, the JSON text of each row's value.
    others: the other members of each row. received_ms: int64[rows].
    """
    return {
        "timestamp": read_timestamps(texts["timestamp"], received_ms, refusals, policy.times),
        "source": pa.array(read_required_texts(texts["source"], "source", refusals), pa.string()),
        "entity": pa.array(read_required_texts(texts["entity"], "entity", refusals), pa.string()),
        "payload": pa.array(_PAYLOADS.write(texts, others), pa.binary()),
    }
