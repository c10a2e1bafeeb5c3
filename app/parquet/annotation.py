"""Parquet's logical types that columns may have."""

from enum import StrEnum


class Annotation(StrEnum):
    """Groups of columns that may get a logical type: UUID, JSON, TIMESTAMP(ms, UTC)."""

    IDS = "ids"
    PAYLOAD = "payload"
    TIMESTAMPS = "timestamps"
