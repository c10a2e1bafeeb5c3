"""`[query]`: what one question at POST /query may cost."""

from typing import Annotated

from pydantic import ByteSize, Field

from app.settings.fields import AtLeastOne, Section
from app.settings.quantities import AtLeast, DurationText, parse_duration, parse_size


class QuerySettings(Section):
    """`[query]`: SQL over HTTP, where the extra `query` is installed."""

    enabled: bool = Field(default=True, description="answer POST /query where the extra `query` is there")
    timeout: Annotated[float, DurationText("100ms")] = Field(
        default=parse_duration("30s"), description="for one question and its answer; then it is stopped"
    )
    max_memory: Annotated[ByteSize, AtLeast("64MB")] = Field(
        default=parse_size("512MB"), description="that DuckDB may hold for one question"
    )
    max_rows: AtLeastOne = Field(default=100_000, description="of one answer; more are refused, not cut")
    max_result_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("64MB"), description="bytes of one answer"
    )
    max_concurrent: int = Field(default=2, ge=1, le=64, description="questions at a time, a process each")
    max_waiting: int = Field(default=16, ge=0, le=10_000, description="that wait for their turn; then 503")
    wait: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("10s"), description="how long one waits for its turn; then 503"
    )
    threads: int = Field(default=1, ge=1, le=64, description="of one question")
    nice: int = Field(
        default=15, ge=0, le=19, description="how far its priority is below that of the service"
    )
    max_listeners: int = Field(default=20, ge=0, le=1000, description="of GET /tail at a time; then 503")
