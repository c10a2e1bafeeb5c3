"""The service with rows in the files of the days when they happened, in folders that engines know."""

from pathlib import Path
from typing import Any, Final

from app.kinds import Kind
from tests.support.service import Config, Service

CLOCK: Final = "2023-11-17T12:00:00+00:00"
"""Two days and some hours after the rows of tests.support.payloads happened."""


class HappenedService(Service):
    def __init__(self, directory: Path, config: Config | None = None, clock: str | None = None) -> None:
        sections: dict[str, Any] = dict(config or {})
        placed = {"partition_by": "happened", "layout": "hive"}
        sections["sinks.parquet"] = {**placed, **sections.get("sinks.parquet", {})}
        super().__init__(directory, sections, clock or CLOCK)

    def data_files(self, kind: Kind | str = "", workspace: int | str = "*") -> list[Path]:
        return super().data_files(kind, f"workspace={workspace}")
