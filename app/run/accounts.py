"""Usage with its files, and quotas, of each workspace."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from app.api.answers import UsageLine
from app.api.usage import usage_lines
from app.commit.quota import Quotas
from app.commit.quota_policy import QuotaPolicy
from app.commit.usage import Usage, UsageByDay, day_of
from app.disk.durable_fs import DurableFS
from app.errors import Overloaded
from app.publish.manifest import Manifest
from app.publish.rotation import WriterPolicy
from app.run.usage_files import UsageFiles
from app.run.usage_replay import UsageReplay


class Accounts:
    """on_counted(workspace, rows, bytes): called for new rows."""

    def __init__(
        self,
        fs: DurableFS,
        state: Path,
        quotas: Mapping[int | None, QuotaPolicy],
        clock_ms: Callable[[], int],
        timer_ms: Callable[[], int],
        on_counted: Callable[[int, int, int], None],
    ) -> None:
        self._files = UsageFiles(fs, state)
        self._clock_ms = clock_ms
        self._on_counted = on_counted
        self.usage = Usage(self._files.read, self._count)
        self.quotas = Quotas(quotas, clock_ms, timer_ms, self.usage.bytes_of)

    def replay(self, manifest: Manifest, policy: WriterPolicy) -> UsageReplay:
        """Counts the frames of the journal at a start."""
        return UsageReplay(self.usage, self._files, manifest, policy)

    def save(self) -> None:
        """Must be called before frames are trimmed. Raises OSError, SyncFailed."""
        self._files.save(self.usage)

    def of_days(self, days: Sequence[str]) -> UsageByDay:
        """Usage by day. Reads the disk. Raises Overloaded if that fails."""
        try:
            return {day: amounts for day in days if (amounts := self.usage.day(day))}
        except OSError as error:
            raise Overloaded(
                f"Usage cannot be read now: {error.strerror}; try again.", retry_after_s=5
            ) from None

    def today(self) -> list[UsageLine] | None:
        """One line per workspace, as in GET /usage; None while they cannot be read from the disk."""
        today = day_of(self._clock_ms())
        try:
            return usage_lines(today, self.of_days([today]).get(today, {}), None)
        except Overloaded:
            return None

    def _count(self, workspace_id: int, rows: int, size: int) -> None:
        self.quotas.charge(workspace_id, rows)
        self._on_counted(workspace_id, rows, size)
