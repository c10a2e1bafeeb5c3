"""`[journal]`: where acknowledged rows are durable."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    ByteSize,
    Field,
    model_validator,
)

from app.settings.fields import AtLeastOne, NamedPath, Section
from app.settings.kafka import KafkaSettings
from app.settings.quantities import AtLeast, parse_size


class JournalSettings(KafkaSettings, Section):
    """`[journal]`: what makes a batch durable, and how much may accumulate."""

    path: NamedPath = Field(
        default=Path("journal/"), description="directory of the journal; must not be inside a sink's path"
    )
    acknowledge: Literal["fsync", "write", "memory"] = Field(
        default="fsync",
        description="what a 202 survives: fsync: a power cut; write: a killed process; memory: nothing",
    )
    segment_size: Annotated[ByteSize, AtLeast("4KiB")] = Field(
        default=parse_size("64MB"), description="size of one segment file"
    )
    max_size: Annotated[ByteSize, AtLeast("8KiB")] = Field(
        default=parse_size("4GB"),
        description="total size of all segments; above it batches are refused with 503 until files are "
        "written",
    )
    max_group_size: Annotated[ByteSize, AtLeast("1B")] = Field(
        default=parse_size("8MB"),
        description="bytes of request bodies made durable by one sync (a single batch always fits)",
    )
    max_group_batches: AtLeastOne = Field(
        default=4096, description="number of batches made durable by one sync"
    )
    min_free_space: Annotated[ByteSize, AtLeast("0B")] = Field(
        default=parse_size("256MB"),
        description="below this much free disk space, batches are refused with 507",
    )
    resume_free_space: Annotated[ByteSize, AtLeast("0B")] = Field(
        default=parse_size("320MB"), description="above this much free disk space, batches are accepted again"
    )
    reserve_size: Annotated[ByteSize, AtLeast("0B")] = Field(
        default=parse_size("32MB"),
        description="size of a reserve file, deleted when the disk is full so that buffered rows can be "
        "written",
    )
    min_free_inodes: int = Field(
        default=1000, ge=0, description="below this number of free inodes, batches are refused with 507"
    )
    deduplication_batches: AtLeastOne = Field(default=100_000, description="number of batch ids remembered")
    deduplication_messages: AtLeastOne = Field(
        default=100_000,
        description="number of message ids remembered per workspace; in total, four times as many",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.resume_free_space < self.min_free_space:
            raise ValueError("resume_free_space must not be below min_free_space")
        if self.type == "kafka" and not (self.brokers and self.topic):
            raise ValueError('type = "kafka" needs `brokers` and `topic`')
        if self.max_size < 2 * self.segment_size:
            raise ValueError(
                "max_size must be at least 2 x segment_size, otherwise nothing could ever be trimmed"
            )
        return self
