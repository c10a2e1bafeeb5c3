"""What the admin calls answer: the models that the OpenAPI document is generated from."""

from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from app.kinds import Kind
from app.parquet.data_file import DataFile, FileState
from app.parquet.partition import Rotation

Count = Annotated[int, Field(ge=0)]
Workspace = Annotated[int, Field(ge=0, le=2**32 - 1, description="Whose rows they are.")]
Milliseconds = Annotated[int, Field(description="ms since the epoch", json_schema_extra={"format": "int64"})]
Day = Annotated[str, Field(json_schema_extra={"format": "date"})]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Hour = Annotated[int | None, Field(ge=0, le=23, description="UTC; null where rotation is not hourly.")]


class JsonLine(JSONResponse):
    """JSON with a newline behind it, for a terminal."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


class ReadableJson(JSONResponse):
    """The same, indented: what people read more often than programs do."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2)


_PERIODS: Final = MappingProxyType[Rotation, Literal["hour", "day", "month"]](
    {Rotation.HOURLY: "hour", Rotation.DAILY: "day", Rotation.MONTHLY: "month"}
)


class ListedFile(BaseModel):
    path: str = Field(description="Below the data folder; `/files/{path}` is the file.")
    workspace_id: Workspace
    date: Day = Field(description="UTC, of the folder that it is in; of a month the first day.")
    hour: Hour
    period: Literal["hour", "day", "month"] = Field(description="How much time its folder stands for.")
    kind: Kind
    rows: Count = Field(description="Rows in the file.")
    bytes: Count = Field(description="Length of the file.")
    disk_bytes: Count = Field(
        description="What it takes on the disk: less than its length where it was laid again and its old "
        "bytes were given back."
    )
    min_timestamp: Milliseconds
    max_timestamp: Milliseconds
    compression: str = Field(description="Of its pages.")
    created_at: Moment = Field(description="When it was first published.")
    updated_at: Moment = Field(description="When it was last published.")
    sealed: bool = Field(
        description="No rows are added any more. A sealed file of a day that is over may be laid again once, "
        "with the same rows."
    )
    state: FileState = Field(
        description="removed: somebody took the file away; changed: it is not what was published."
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
    next_cursor: str | None = Field(description="The `cursor` of the next page; null: the last.")


class Flushed(BaseModel):
    flushed_rows: Count = Field(description="Rows that this flush published.")
    files: list[ListedFile]


class UsageLine(BaseModel):
    workspace_id: Workspace
    date: Day
    events: Count = Field(default=0, description="Rows of events.")
    logs: Count = Field(default=0, description="Rows of logs.")
    snapshots: Count = Field(default=0, description="Rows of snapshots.")
    rows: Count = Field(default=0, description="All rows.")
    bytes: Count | None = Field(
        default=0,
        description="Of their texts and payloads, before compression; null with a Kafka journal.",
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
    accepted_here: Count = Field(default=0, description="Acknowledged by this process; with a Kafka journal.")
    published: Count
    buffered: Count = Field(description="Durable, and in no file yet.")
    quarantined: Count = Field(description="No file could hold them; they are kept in files of their own.")
    removed: Count = Field(
        default=0, description="In files that `[[retention]]` has removed, or forgotten by `POST /forget`."
    )


class JournalLevel(BaseModel):
    bytes: Count
    first_lsn: Count
    last_lsn: Count


class BufferLevel(BaseModel):
    rows: Count
    bytes: Count
    open_partitions: Count = Field(default=0, description="With rows that wait.")
    oldest_row_age_s: float = Field(default=0, description="Of the row that waits longest.")


class Remembered(BaseModel):
    batches: Count
    messages: Count


class Removals(BaseModel):
    removed_files: Count
    to_be_deleted: Count = Field(description="Of those, how many stand on the disk yet.")


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
    published_to: Count = Field(description="The first offset that is in no file yet.")
    foreign_records: list[ForeignRecordSeen] = Field(description="The last of them.")


class KafkaWriting(BaseModel):
    partition: Count
    lag: Count | None
    problem: str | None


class Status(BaseModel):
    """The account of every accepted row, and the levels. Members that a mode does not have are absent."""

    rows: list[RowAccount]
    role: str = Field(default="", description="With a Kafka journal: front, writer or both.")
    journal: JournalLevel | None = None
    buffer: BufferLevel
    deduplication: Remembered
    files: Count
    retention: Removals | None = None
    catalog: CatalogState | None = Field(
        default=None, description="What tables have, and what waits; null where no catalog is configured."
    )
    partitions: list[KafkaPartition] = []
    writing: list[KafkaWriting] = []
    last_flush_ms: Milliseconds | None = Field(
        description="When this process published rows last; null before."
    )
    problem: str | None = Field(description="Why publishing does not work now; null when it does.")
    failing_partitions: list[FailingPartition] = []
    lost_files: list[LostFile] = []
    usage: list[UsageLine] | None = Field(
        default=None, description="Of today; null while the disk does not let it be read."
    )


class Refusal(BaseModel):
    at: Moment
    workspace_id: Workspace
    kind: str | None
    reason: str = Field(description="A code, for programs.")
    row: int | None = Field(description="From 1; null for a whole batch.")
    field: str | None
    message: str
    text: str | None = Field(description="How the row begins.")


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
    rows: Count = Field(description="That were taken out of it.")
    old_bytes: Count = Field(description="What stands before the new row groups.")
    are_zeros: bool = Field(description="Whether they are zeros by now, which was looked at.")


class NotDone(BaseModel):
    path: str
    why: str


class ForgetReceipt(BaseModel):
    at: Moment
    asked: dict[str, Any] = Field(description="What was asked for, by hashes of its values.")
    now: bool
    complete: bool = Field(description="Whether nothing is left that may have such rows.")
    rows: Count
    files_searched: Count
    files: list[ForgottenIn]
    left: list[NotDone] = Field(description="What may still have such rows, and why.")
    receipt: str = Field(description="The file beside the journal that keeps this.")
