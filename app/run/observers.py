"""What the parts tell, turned into metrics. The parts themselves know no Prometheus."""

from app.commit.group import GroupCounts
from app.kinds import Kind
from app.metrics import Metrics
from app.schema import SCHEMAS


class CommitObserver:
    """Counts group commits; called on the commit thread, once a group."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._fields = frozenset(name for schema in SCHEMAS.values() for name in schema.names)

    def group_committed(self, counts: GroupCounts, sync_seconds: float) -> None:
        metrics = self._metrics
        metrics.batches_received.inc(counts.batches)
        metrics.group_batches.observe(counts.batches)
        metrics.duplicate_batches.inc(counts.duplicates)
        by_kind = dict.fromkeys(Kind, 0)
        for (_, kind), rows in counts.accepted.items():
            by_kind[kind] += rows
        for kind, rows in by_kind.items():
            if rows:
                metrics.rows_accepted.labels(kind.value).inc(rows)
        if counts.accepted:
            metrics.group_rows.observe(counts.accepted.total())
            metrics.sync_seconds.observe(sync_seconds)
        for field, rows in counts.rejected_fields.items():
            # A field's name may be the client's own word; a label may not.
            metrics.rows_rejected.labels(field if field in self._fields else "other").inc(rows)
        for code, batches in counts.refused_codes.items():
            metrics.batches_refused.labels(code).inc(batches)
            metrics.decode_errors.inc(batches)


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

    def write_error(self) -> None:
        self._metrics.write_errors.inc()

    def partition_failed(self) -> None:
        self._metrics.partition_errors.inc()

    def rows_quarantined(self, kind: Kind, rows: int) -> None:
        self._metrics.quarantined_rows.inc(rows)

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
