"""Logical types of Parquet's that columns may carry."""

from enum import StrEnum


class Annotation(StrEnum):
    """Which columns carry a logical type of Parquet's: UUID, JSON, TIMESTAMP(ms, UTC)."""

    IDS = "ids"
    PAYLOAD = "payload"
    TIMESTAMPS = "timestamps"
