"""A batch on its way: rows of one kind under one id."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("events", "logs", "snapshots")


@dataclass(frozen=True)
class Batch:
    """body: JSON Lines, not compressed. batch_id: never changes, so that the service knows it again."""

    batch_id: str
    kind: str
    body: bytes
    rows: int
