"""The answers of the admin calls, as models from which the OpenAPI document is generated."""

from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from app.kinds import Kind
from app.parquet.data_file import DataFile, FileState
from app.parquet.partition import Rotation

Count = Annotated[int, Field(ge=0)]
Workspace = Annotated[int, Field(ge=0, le=2**32 - 1, description="The workspace that the rows belong to.")]
Milliseconds = Annotated[int, Field(description="ms since the epoch", json_schema_extra={"format": "int64"})]
Day = Annotated[str, Field(json_schema_extra={"format": "date"})]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Hour = Annotated[int | None, Field(ge=0, le=23, description="UTC; null unless rotation is hourly.")]


class JsonLine(JSONResponse):
    """JSON with a trailing newline, for terminals."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


class ReadableJson(JSONResponse):
    """The same, indented, for answers that are read by people more often than by programs."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2)


_PERIODS: Final = MappingProxyType[Rotation, Literal["hour", "day", "month"]](
    {Rotation.HOURLY: "hour", Rotation.DAILY: "day", Rotation.MONTHLY: "month"}
)


class ListedFile(BaseModel):
    path: str = Field(description="Relative to the data directory; `/files/{path}` returns the file.")
    workspace_id: Workspace
    date: Day = Field(description="Date of its folder, UTC; for monthly files the first day of the month.")
    hour: Hour
    period: Literal["hour", "day", "month"] = Field(description="The period that its folder covers.")
    kind: Kind
    rows: Count = Field(description="Rows in the file.")
    bytes: Count = Field(description="Length of the file.")
    disk_bytes: Count = Field(
        description="Disk space that the file uses: less than its length if it was compacted and its old "
        "bytes were freed."
    )
    min_timestamp: Milliseconds
    max_timestamp: Milliseconds
    compression: str = Field(description="Codec of its pages.")
    created_at: Moment = Field(description="When it was first published.")
    updated_at: Moment = Field(description="When it was last published.")
    sealed: bool = Field(
        description="No rows are added any more. A sealed file of a day that is over may be compacted once, "
        "with the same rows."
    )
    state: FileState = Field(
        description="removed: the file was deleted by something other than the service; changed: it is not "
        "what was published."
    )

    @classmethod
    def of(cls, file: DataFile) -> "ListedFile":
        # What the manifest holds was checked when it was made, and a page has a thousand of them.
        return cls.model_construct(
            path=file.path,
            workspace_id=file.workspace_id,
            date=file.partition.first_day,
            hour=file.hour,
            period=_PERIODS[file.partition.rotation],
            kind=file.kind,
            rows=file.rows,
            bytes=file.bytes,
            disk_bytes=file.disk_bytes,
            min_timestamp=file.min_timestamp,
            max_timestamp=file.max_timestamp,
            compression=file.compression,
            created_at=file.created_at,
            updated_at=file.changed_at,
            sealed=file.sealed,
            state=file.state,
        )


class FileList(BaseModel):
    files: list[ListedFile]
    next_cursor: str | None = Field(description="The `cursor` for the next page; null on the last page.")


class Flushed(BaseModel):
    flushed_rows: Count = Field(description="Rows that this flush published.")
    files: list[ListedFile]


class UsageLine(BaseModel):
    workspace_id: Workspace
    date: Day
    events: Count = Field(default=0, description="Event rows.")
    logs: Count = Field(default=0, description="Log rows.")
    snapshots: Count = Field(default=0, description="Snapshot rows.")
    rows: Count = Field(default=0, description="All rows.")
    bytes: Count | None = Field(
        default=0,
        description="Bytes of the rows' texts and payloads, before compression; null with a Kafka journal.",
    )


class UsageReport(BaseModel):
    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    first: Day = Field(alias="from")
    to: Day
    usage: list[UsageLine]


class RowAccount(BaseModel):
    """accepted = published + buffered + quarantined + removed"""

    workspace_id: Workspace
    kind: Kind
    accepted: Count
    accepted_here: Count = Field(
        default=0, description="Rows acknowledged by this process; only with a Kafka journal."
    )
    published: Count
    buffered: Count = Field(description="Rows that are durable but not in files yet.")
    quarantined: Count = Field(
        description="Rows that could not be written to data files; they are kept in files of their own."
    )
    removed: Count = Field(
        default=0, description="Rows in files removed by `[[retention]]`, or rows removed by `POST /forget`."
    )


class JournalLevel(BaseModel):
    bytes: Count
    first_lsn: Count
    last_lsn: Count


class BufferLevel(BaseModel):
    rows: Count
    bytes: Count
    open_partitions: Count = Field(default=0, description="Partitions with rows that are not in files yet.")
    oldest_row_age_s: float = Field(default=0, description="Age of the oldest row that is not in files yet.")


class Remembered(BaseModel):
    batches: Count
    messages: Count


class Removals(BaseModel):
    removed_files: Count
    to_be_deleted: Count = Field(description="How many of those are still on the disk.")


class CatalogLag(BaseModel):
    commits: Count
    files: Count
    seconds: float


class LeftOut(BaseModel):
    path: str
    kind: Kind
    reason: str


class CatalogState(BaseModel):
    registered_commit: dict[Kind, int | None]
    lag: CatalogLag
    problem: str | None
    left_out: list[LeftOut] = Field(description="Files that do not fit their table, and why.")


class FailingPartition(BaseModel):
    workspace_id: Workspace
    date: Day
    hour: Hour
    kind: Kind
    error: str
    next_try_after_ms: Count


class LostFile(BaseModel):
    path: str
    state: FileState
    lost_rows: Count
    first_lsn: Count
    last_lsn: Count | None


class ForeignRecordSeen(BaseModel):
    offset: Count
    path: str = Field(description="Where its bytes are kept.")
    error: str


class KafkaPartition(BaseModel):
    partition: Count
    published_to: Count = Field(description="The first offset that is not in files yet.")
    foreign_records: list[ForeignRecordSeen] = Field(
        description="The last records that were not written by this service."
    )


class KafkaWriting(BaseModel):
    partition: Count
    lag: Count | None
    problem: str | None


class Status(BaseModel):
    """The account of all accepted rows, and the current levels. Members that do not apply to a mode are
    absent."""

    rows: list[RowAccount]
    role: str = Field(default="", description="With a Kafka journal: all, ingest or writer; otherwise empty.")
    journal: JournalLevel | None = None
    buffer: BufferLevel
    deduplication: Remembered
    files: Count
    retention: Removals | None = None
    catalog: CatalogState | None = Field(
        default=None,
        description="What is registered in tables, and what is waiting; null if no catalog is configured.",
    )
    partitions: list[KafkaPartition] = []
    writing: list[KafkaWriting] = []
    last_flush_ms: Milliseconds | None = Field(
        description="When this process last published rows; null if it has not yet."
    )
    problem: str | None = Field(description="Why publishing is failing now; null when it works.")
    failing_partitions: list[FailingPartition] = []
    lost_files: list[LostFile] = []
    usage: list[UsageLine] | None = Field(
        default=None, description="Usage of today; null while it cannot be read from the disk."
    )


class Refusal(BaseModel):
    at: Moment
    workspace_id: Workspace
    kind: str | None
    reason: str = Field(description="An error code, for programs.")
    row: int | None = Field(description="Row number, from 1; null if the whole batch was refused.")
    field: str | None
    message: str
    text: str | None = Field(description="The beginning of the row.")


class Refusals(BaseModel):
    refusals: list[Refusal]


class Health(BaseModel):
    status: Literal["up"] = "up"


class Ready(BaseModel):
    ready: bool
    reason: str = Field(default="", description="Why batches are refused.")
    error: str = ""
    code: str = ""
    message: str = ""
    request_id: str = ""


UNCACHED: Final = {"cache-control": "no-store"}


class ForgottenIn(BaseModel):
    path: str
    rows: Count = Field(description="Rows that were removed from it.")
    old_bytes: Count = Field(description="Bytes before the new row groups.")
    are_zeros: bool = Field(description="Whether those bytes are zeros now, as verified by reading them.")


class NotDone(BaseModel):
    path: str
    why: str


class ForgetReceipt(BaseModel):
    at: Moment
    asked: dict[str, Any] = Field(description="The request, with hashes in place of its values.")
    now: bool
    complete: bool = Field(description="Whether no file is left that may contain such rows.")
    rows: Count
    files_searched: Count
    files: list[ForgottenIn]
    left: list[NotDone] = Field(description="Files that may still contain such rows, and why.")
    receipt: str = Field(description="The file next to the journal that holds this receipt.")
