"""`[sinks.<name>]`: where files are written and what they look like."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ByteSize,
    Field,
    field_validator,
    model_validator,
)

from app.kinds import COLUMNS, Kind
from app.object_store.policy import OBJECT_BYTES_MAX
from app.object_store.url import StoreUrl, is_url, parse_url
from app.parquet.location import HIVE_COLUMNS, HIVE_MONTHLY_COLUMNS
from app.parquet.promotion import (
    PROMOTIONS_MAX,
    PromotedType,
    Promotion,
    parse_path,
    refuse_conflicts,
)
from app.settings.columns import ColumnSettings
from app.settings.fields import AtLeastOne, DirectoryOrUrl, Section
from app.settings.final import FinalSettings
from app.settings.quantities import AtLeast, DurationText, parse_duration, parse_size
from app.settings.store import StoreSettings

STORE_FLUSH_INTERVAL = "10m"

LATE_WINDOW_MAX_S = parse_duration("31d")
"""Each further day keeps one more partition open for each workspace and kind."""


class PromotionSettings(Section):
    """`[[sinks.<name>.promote]]`: a field of the payload's JSON becomes a column of its own."""

    kind: Literal["events", "logs", "snapshots"] = Field(description="kind whose files get the column")
    path: str = Field(description='path of the field, such as `$.page`, `$.cart.total` or `$."a name"`')
    name: str = Field(
        pattern="^[A-Za-z_][A-Za-z0-9_]{0,62}$", description="name of the column; letters, digits and _"
    )
    type: Literal["string", "integer", "double", "boolean"] = Field(
        description="type of the column; a value of another type becomes null there, and is counted"
    )

    @field_validator("path")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        parse_path(path)
        return path

    @property
    def promotion(self) -> Promotion:
        return Promotion(Kind(self.kind), parse_path(self.path), self.name, PromotedType(self.type))


class ParquetSinkSettings(ColumnSettings):
    """`[sinks.<name>]` with `type = "parquet"`: where the files go and what they look like."""

    type: Literal["parquet"] = Field(default="parquet", description="the kind of sink")
    path: DirectoryOrUrl = Field(
        description="directory for the files, or `s3://bucket/prefix`, `gs://…`, `az://…`; required in a "
        "`[sinks.<name>]` section"
    )
    store: StoreSettings = StoreSettings()
    final: FinalSettings = FinalSettings()
    rotation: Literal["hourly", "daily", "monthly"] = Field(
        default="daily", description="one file per day, hour or month"
    )
    layout: Literal["plain", "hive"] = Field(
        default="plain",
        description="folder names of new files: plain: `42/2024-01-15/`; hive: "
        "`workspace=42/date=2024-01-15/`, for engines that prune files by folder",
    )
    partition_by: Literal["received", "happened"] = Field(
        default="received",
        description="whether a row goes into the file of the day it was received, or of the day it happened",
    )
    late_window: Annotated[float, DurationText("1h")] = Field(
        default=parse_duration("7d"),
        description='with partition_by = "happened": how long before its receipt a row may have happened; '
        "each day stays open for this long",
    )
    compression: Literal["snappy", "gzip", "lz4", "zstd", "uncompressed"] = Field(
        default="snappy", description="codec of the columns"
    )
    compression_level: int | None = Field(
        default=None, ge=1, le=22, description="level for zstd (1-22, default 1) or gzip (1-9, default 6)"
    )
    promote: list[PromotionSettings] = Field(
        default=[],
        max_length=PROMOTIONS_MAX,
        description="fields of the payload that become columns of their own",
    )
    metrics_enabled: bool = Field(
        default=True, description="log a summary line at intervals, and serve GET /metrics"
    )
    metrics_interval: Annotated[float, DurationText("100ms")] = Field(
        default=parse_duration("10s"), description="interval of the summary line"
    )
    metrics_workspaces: int = Field(
        default=100,
        ge=0,
        le=100_000,
        description="how many workspaces get time series of their own in GET /metrics; all others share one",
    )
    flush_interval: Annotated[float, DurationText("10ms")] = Field(
        default=parse_duration("60s"),
        description="how far a file may lag behind: at most this, or 1/16 of its partition's age if that is "
        "longer; default 10m if `path` is a URL",
    )
    max_file_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("128MB"),
        description="size of a file; a file that would exceed it is sealed, and a new one is started",
    )
    row_group_rows: AtLeastOne = Field(default=1_000_000, description="maximum rows in a row group")
    row_group_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("8MB"), description="approximate maximum of encoded bytes in a row group"
    )
    max_buffered_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("128MB"),
        description="memory for rows that wait to be written; all others wait in the journal only",
    )

    @property
    def directory(self) -> Path | None:
        """Where the files are; None when they are on an object store."""
        return self.path if isinstance(self.path, Path) else None

    @property
    def url(self) -> StoreUrl | None:
        """The files' URL on an object store; None when they are in a directory."""
        return None if isinstance(self.path, Path) else parse_url(self.path)

    @model_validator(mode="before")
    @classmethod
    def _default_interval(cls, values: Any) -> Any:
        """On an object store each flush makes a new object, so the default interval is longer."""
        if isinstance(values, dict) and is_url(str(values.get("path", ""))):
            return {"flush_interval": STORE_FLUSH_INTERVAL, **values}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.compression_level is not None:
            highest = {"gzip": 9, "zstd": 22}.get(self.compression)
            if highest is None:
                raise ValueError(f'compression_level is for "zstd" and "gzip", not "{self.compression}"')
            if self.compression_level > highest:
                raise ValueError(f"compression_level of {self.compression} must be at most {highest}")
        if self.late_window > LATE_WINDOW_MAX_S:
            raise ValueError("late_window must be at most 31d: each day's files stay open for this long")
        if self.url is not None and self.max_file_size > OBJECT_BYTES_MAX:
            raise ValueError(f"max_file_size is above {OBJECT_BYTES_MAX} bytes, the largest possible upload")
        if self.data_format != "json" and (self.payload_type == "json" or self.promote):
            raise ValueError('payload_type = "json" and promote need data_format = "json"')
        refuse_conflicts([each.promotion for each in self.promote])
        if complaint := self.final.complaint(each.name for each in self.promote):
            raise ValueError(complaint)
        if self.final.enabled and self.url is not None:
            raise ValueError(
                "final.enabled: objects in a bucket never change, so files are not compacted there; leave "
                "out the key, or set it to false"
            )
        for each in self.promote:
            if self.layout == "hive" and each.name.lower() in (*HIVE_COLUMNS, *HIVE_MONTHLY_COLUMNS):
                raise ValueError(
                    f'layout = "hive": engines would read the folder {each.name.lower()}=… instead of the '
                    f'promoted column "{each.name}"; rename the column'
                )
        _refuse_column_folders(str(self.path if self.directory is None else self.directory.absolute()))
        return self


def _refuse_column_folders(path: str) -> None:
    """DuckDB and ClickHouse read `name=value` in a path as a column, which hides the file's own."""
    columns = {name for names in COLUMNS.values() for name in names}
    for folder in path.replace("://", "/").split("/"):
        name, equals, _ = folder.partition("=")
        if equals and name.lower() in columns:
            raise ValueError(
                f'path: engines would read the folder "{folder}" as the column {name}, instead of the one '
                "in the files; rename the folder"
            )
