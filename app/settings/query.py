"""`[query]`: the limits of SQL over HTTP."""

from typing import Annotated

from pydantic import ByteSize, Field

from app.settings.fields import AtLeastOne, Section
from app.settings.quantities import AtLeast, DurationText, parse_duration, parse_size


class QuerySettings(Section):
    """`[query]`: SQL over HTTP, where the extra `query` is installed."""

    enabled: bool = Field(default=True, description="answer POST /query, if the extra `query` is installed")
    timeout: Annotated[float, DurationText("100ms")] = Field(
        default=parse_duration("30s"),
        description="time limit for one query including its answer; after that it is stopped",
    )
    max_memory: Annotated[ByteSize, AtLeast("64MB")] = Field(
        default=parse_size("512MB"), description="memory that DuckDB may use for one query"
    )
    max_rows: AtLeastOne = Field(
        default=100_000, description="rows in one answer; a larger answer is an error, it is not truncated"
    )
    max_result_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("64MB"), description="bytes in one answer"
    )
    max_concurrent: int = Field(
        default=2, ge=1, le=64, description="queries that run at the same time, each in a process of its own"
    )
    max_waiting: int = Field(
        default=16, ge=0, le=10_000, description="queries that may wait for their turn; more are answered 503"
    )
    wait: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("10s"),
        description="how long a query waits for its turn; then it is answered 503",
    )
    threads: int = Field(default=1, ge=1, le=64, description="threads of one query")
    nice: int = Field(
        default=15,
        ge=0,
        le=19,
        description="niceness of query processes: how much lower their priority is than that of the service",
    )
    max_listeners: int = Field(
        default=20, ge=0, le=1000, description="clients of GET /tail at the same time; more are answered 503"
    )
