"""Reads and writes the usage files: one small file per day next to the journal."""

import logging
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from app.commit.usage import Amount, DayUsage, Usage, UsageByDay, load_day
from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.data_file import DataFile

DAYS_KEPT: Final = 1_100
"""Three years; older days are removed."""

_NAME: Final = re.compile(r"\d{4}-\d{2}-\d{2}")

log = logging.getLogger(__name__)


class UsageFiles:
    """Any thread reads; `write` is called by one at a time."""

    def __init__(self, fs: DurableFS, state: Path) -> None:
        """state: `[journal] path`."""
        self._fs = fs
        self._directory = state / "usage"
        self._lock = threading.Lock()
        self._kept: set[str] | None = None

    @property
    def is_new(self) -> bool:
        return not self._fs.exists(self._directory)

    def settle(self) -> None:
        """Must be called before the files are used: an earlier process may have ended between renaming a file
        and making the name durable. Raises OSError, SyncFailed.
        """
        if not self.is_new:
            self._fs.sync_directory(self._directory)

    def days(self) -> list[str]:
        """The saved days, oldest first. Raises OSError."""
        return sorted(self._known())

    def read(self, day: str) -> DayUsage:
        """An empty day if nothing is saved. A damaged file is moved aside and logged. Raises OSError."""
        if day not in self._known():
            return DayUsage()
        path = self._directory / day
        try:
            return load_day(self._fs.read(path))
        except ValueError as error:
            log.error("%s cannot be read (%s): its counts are missing from the usage", path, error)
            self._fs.rename(path, path.with_suffix(".damaged"))
            self._known().discard(day)
            return DayUsage()

    def save(self, usage: Usage) -> None:
        """Write days with changes. Raises OSError, SyncFailed."""
        kept = self._known()
        if not kept:
            self._fs.make_directory(self._directory)

        def write(day: str, data: bytes) -> None:
            self._fs.write_atomically(self._directory / day, data)
            kept.add(day)

        usage.save(write)
        for day in self.days()[:-DAYS_KEPT]:
            self._fs.unlink(self._directory / day)
            kept.discard(day)

    def _known(self) -> set[str]:
        """The saved days are listed only once, so that unsaved days need no disk access."""
        with self._lock:
            if self._kept is None:
                names = [] if self.is_new else self._fs.list_directory(self._directory)
                self._kept = set(filter(_NAME.fullmatch, names))
            return self._kept


def count_published(usage: Usage, files: Iterable[DataFile]) -> None:
    """Start usage with files that were published before it was counted. A month counts on its first day."""
    rows = 0
    for file in files:
        if (count := file.rows + file.lost_rows) > 0:
            usage.add_published(file.partition.first_day, file.workspace_id, file.kind, count)
            rows += count
    if rows:
        log.warning(
            "usage begins with %d rows that are already in files; their number of bytes is not known and "
            "counts as 0",
            rows,
        )


def usage_of_files(files: Iterable[DataFile]) -> UsageByDay:
    """Rows in files by day (months on their first day), for a Kafka journal."""
    days: dict[str, dict[tuple[int, Kind], Amount]] = {}
    for file in files:
        amounts = days.setdefault(file.partition.first_day, {})
        amounts.setdefault((file.workspace_id, file.kind), Amount()).rows += file.rows
    return days
