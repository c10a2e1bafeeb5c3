"""`[sinks.<name>.final]`: how the files of a day that is over are compacted."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from app.kinds import COLUMNS
from app.settings.fields import Section, comma_list
from app.settings.quantities import DurationText, parse_duration


class FinalSettings(Section):
    """`[sinks.<name>.final]`: the final form of files whose day (or hour) is over."""

    enabled: bool | None = Field(
        default=None,
        description="false: files stay as the last flush left them; default: true for files in a directory "
        "with a local journal and no catalog, otherwise false",
    )
    sort: Annotated[list[str], BeforeValidator(comma_list)] = Field(
        default=["timestamp"],
        max_length=8,
        description="columns to sort by, most significant first; columns that a kind does not have are "
        "skipped; []: keep the order of receipt",
    )
    compression: Literal["snappy", "gzip", "lz4", "zstd", "uncompressed"] | None = Field(
        default=None, description="codec of the final form; default: the sink's `compression`"
    )
    compression_level: int | None = Field(
        default=None,
        ge=1,
        le=22,
        description="level for zstd (1-22) or gzip (1-9), if `compression` is set here",
    )
    grace: Annotated[float, DurationText("1s")] = Field(
        default=parse_duration("1h"),
        description="how long queries that are already running can read the old bytes; then their disk "
        "space is freed",
    )
    share: float = Field(
        default=0.25, gt=0, le=1, description="the share of one core that compaction uses at most"
    )

    def complaint(self, promoted: Iterable[str]) -> str | None:
        """What is wrong or contradictory in these settings, None if nothing is. promoted: the names of
        promoted columns."""
        known = {name for names in COLUMNS.values() for name in names if name != "payload"} | set(promoted)
        for name in self.sort:
            if name not in known:
                listed = ", ".join(sorted(known))
                return (
                    f'final.sort: "{name}" is not a column that files can be sorted by; choose from: {listed}'
                )
        if len(set(self.sort)) < len(self.sort):
            return "final.sort: a column is named twice"
        if self.compression_level is None:
            return None
        highest = {"gzip": 9, "zstd": 22}.get(self.compression or "")
        if highest is None:
            return 'final.compression_level needs final.compression = "zstd" or "gzip"'
        if self.compression_level > highest:
            return f"final.compression_level of {self.compression} must be at most {highest}"
        return None
