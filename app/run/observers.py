"""Turns the observations of the parts into metrics. The parts themselves do not depend on Prometheus."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from app.commit.group import GroupCounts
from app.commit.recent_refusals import RecentRefusal
from app.kinds import Kind
from app.metrics import Metrics
from app.schema import SCHEMAS

WARNING_INTERVAL_S: Final = 60.0
WARNINGS_MAX: Final = 100
"""Log lines about refusals in one interval, for all workspaces together."""

log = logging.getLogger(__name__)


class CommitObserver:
    """Counts group commits; called on the commit thread, once per group.

    on_rows(workspace, rows): called for the rows of each workspace, if nothing else counts them.
    on_refused: called with the latest refusals.
    """

    def __init__(
        self,
        metrics: Metrics,
        on_rows: Callable[[int, int], None] = lambda workspace_id, rows: None,
        on_refused: Callable[[Sequence[RecentRefusal]], None] = lambda refused: None,
    ) -> None:
        self._metrics = metrics
        self._on_refused = on_refused
        self._on_rows = on_rows
        self._fields = frozenset(name for schema in SCHEMAS.values() for name in schema.names)
        self._warned: dict[tuple[int, str], float] = {}

    def group_committed(self, counts: GroupCounts, sync_seconds: float) -> None:
        metrics = self._metrics
        metrics.batches_received.inc(counts.batches)
        metrics.group_batches.observe(counts.batches)
        metrics.duplicate_batches.inc(counts.duplicates)
        by_kind = dict.fromkeys(Kind, 0)
        for (workspace_id, kind), rows in counts.accepted.items():
            by_kind[kind] += rows
            self._on_rows(workspace_id, rows)
        for kind, rows in by_kind.items():
            if rows:
                metrics.rows_accepted.labels(kind.value).inc(rows)
        if counts.accepted:
            metrics.group_rows.observe(counts.accepted.total())
            metrics.sync_seconds.observe(sync_seconds)
        for field, rows in counts.rejected_fields.items():
            # A field's name may be the client's own word; a label may not.
            metrics.rows_rejected.labels(field if field in self._fields else "other").inc(rows)
        for metric, counted in ((metrics.refusals, counts.refused), (metrics.rows_repaired, counts.repaired)):
            for (workspace_id, reason, field), rows in counted.items():
                label = field if not field or field in self._fields else "other"
                metric.labels(metrics.workspaces.of(workspace_id), reason, label).inc(rows)
        self._warn(counts)
        if counts.notes:
            self._on_refused(counts.notes)
        for code, batches in counts.refused_codes.items():
            metrics.batches_refused.labels(code).inc(batches)
            metrics.decode_errors.inc(batches)

    def _warn(self, counts: GroupCounts) -> None:
        """One line for each workspace and reason, at most once in WARNING_INTERVAL_S."""
        if not counts.refused:
            return
        now = time.monotonic()
        self._warned = {what: at for what, at in self._warned.items() if now - at < WARNING_INTERVAL_S}
        for (workspace_id, reason, field), count in counts.refused.items():
            if (workspace_id, reason) in self._warned or len(self._warned) >= WARNINGS_MAX:
                continue
            self._warned[workspace_id, reason] = now
            log.warning(
                "workspace %d: refused %s%s (%d in this group); GET /metrics counts them",
                workspace_id,
                reason,
                f" in {field[:40]!r}" if field else "",
                count,
                extra={"workspace_id": workspace_id},
            )


class PublishObserver:
    """Counts publishing; called on the writer thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def rows_written(self, kind: Kind, rows: int) -> None:
        self._metrics.rows_written[kind].inc(rows)

    def bytes_written(self, count: int) -> None:
        self._metrics.bytes_written.inc(count)

    def file_created(self) -> None:
        self._metrics.files_created.inc()

    def files_removed(self, files: int, rows: int) -> None:
        self._metrics.retention_files.inc(files)
        self._metrics.retention_rows.inc(rows)

    def file_laid_again(self, old_bytes: int, new_bytes: int) -> None:
        self._metrics.final_files.inc()
        self._metrics.final_bytes.inc(new_bytes)

    def bytes_given_back(self, count: int) -> None:
        self._metrics.final_bytes_given_back.inc(count)

    def rows_forgotten(self, rows: int) -> None:
        self._metrics.forgotten_rows.inc(rows)

    def write_error(self) -> None:
        self._metrics.write_errors.inc()

    def partition_failed(self) -> None:
        self._metrics.partition_errors.inc()

    def rows_quarantined(self, kind: Kind, rows: int) -> None:
        self._metrics.quarantined_rows.inc(rows)

    def records_foreign(self, records: int) -> None:
        self._metrics.kafka_foreign_records.inc(records)

    def values_unfit(self, kind: Kind, column: str, values: int) -> None:
        self._metrics.promoted_values_unfit.labels(kind.value, column).inc(values)

    def flush_seconds(self, seconds: float) -> None:
        self._metrics.flush_seconds.observe(seconds)


class CatalogObserver:
    """Counts registrations in tables; called on the registrar's thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def files_registered(self, files: int) -> None:
        self._metrics.catalog_files.inc(files)

    def registration_failed(self) -> None:
        self._metrics.catalog_errors.inc()
