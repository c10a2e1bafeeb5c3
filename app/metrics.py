"""Every metric of the service itself, with its unit and what to do when it changes.

The HTTP metrics come from prometheus-fastapi-instrumentator. Labels are bounded: kinds, fields, reasons, and
as many workspaces as `metrics_workspaces` says; never anything that a client chooses. docs/operations.md
lists them all; a test compares the two.
"""

import threading
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.kinds import Kind

_GROUP_ROWS: Final = (1, 10, 100, 500, 1_000, 5_000, 20_000, 100_000)
_SYNC_SECONDS: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)
_FLUSH_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)

WORKSPACES_MAX: Final = 100
"""The default number of workspaces that have labels of their own."""

OTHER_WORKSPACES: Final = "other"


class WorkspaceLabels:
    """The first workspaces with something to report get labels of their own; all others share one.

    A workspace keeps its label, so that no counter ever decreases.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: set[int] = set()

    def of(self, workspace_id: int) -> str:
        if workspace_id not in self._known:
            with self._lock:
                if workspace_id not in self._known and len(self._known) >= self._most:
                    return OTHER_WORKSPACES
                self._known.add(workspace_id)
        return str(workspace_id)


class Metrics:
    """One attribute per metric, in the given registry. workspaces_max: how many workspaces get labels of
    their own."""

    def __init__(self, registry: CollectorRegistry, workspaces_max: int = WORKSPACES_MAX) -> None:
        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"parquet_sink_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"parquet_sink_{name}", text, buckets=buckets, registry=registry)

        self._registry = registry
        self.workspaces = WorkspaceLabels(workspaces_max)
        self.batches_received = counter(
            "batches_received",
            "Batches that reached decoding, accepted or not. Flat: clients stopped sending.",
        )
        self.rows_written = {
            Kind.EVENTS: counter("event_rows_written", "Event rows in published files."),
            Kind.LOGS: counter("log_rows_written", "Log rows in published files."),
            Kind.SNAPSHOTS: counter("snapshot_rows_written", "Snapshot rows in published files."),
        }
        self.bytes_written = counter(
            "bytes_written",
            "Compressed bytes written to data files; what a file held before it grew is not counted again.",
        )
        self.files_created = counter(
            "files_created", "Data files started. Fast growth: max_file_size is too small."
        )
        self.retention_files = counter(
            "retention_files_removed",
            "Data files removed by [[retention]]. Flat: nothing is old enough.",
        )
        self.retention_rows = counter(
            "retention_rows_removed", "Rows in data files removed by [[retention]]."
        )
        self.final_files = counter(
            "final_files", "Files of days that are over, compacted into their final form."
        )
        self.final_bytes = counter(
            "final_bytes", "Bytes that compaction has written to those files, behind their old bytes."
        )
        self.final_bytes_given_back = counter(
            "final_bytes_given_back",
            "Old bytes of compacted files whose disk space has been freed. Flat while final_files grows: "
            "the file system cannot free part of a file.",
        )
        self.forgotten_rows = counter("forgotten_rows", "Rows removed from published files by POST /forget.")
        self.write_errors = counter(
            "write_errors", "Publishing attempts that failed and are retried. Any: check the disk."
        )
        self.partition_errors = counter(
            "partition_errors",
            "Attempts to publish one partition that failed while others continued. Any: GET /status names "
            "it.",
        )
        self.decode_errors = counter(
            "decode_errors",
            "Batches refused entirely because they could not be read. Rising: a client is broken.",
        )
        self.rows_accepted = counter("rows_accepted", "Rows acknowledged, durable in the journal.", ("kind",))
        self.workspace_rows = counter(
            "workspace_rows_accepted",
            "Rows acknowledged, by workspace; GET /usage has the exact account of each day.",
            ("workspace",),
        )
        self.workspace_bytes = counter(
            "workspace_bytes_accepted",
            "Bytes of the texts and payloads of acknowledged rows, before compression, by workspace.",
            ("workspace",),
        )
        self.rows_rejected = counter(
            "rows_rejected",
            "Single rows refused, by the field at fault. Rising: a client is broken.",
            ("field",),
        )
        self.refusals = counter(
            "refusals",
            "Batches refused entirely, and single rows refused (invalid_row), by workspace, reason and "
            "field. Rising: the log has a line per minute for each.",
            ("workspace", "reason", "field"),
        )
        self.rows_repaired = counter(
            "rows_repaired",
            "Rows stored after a repair: half a surrogate pair, NaN, an id that is not a UUID. Rising: a "
            "client writes invalid JSON, or other ids.",
            ("workspace", "reason", "field"),
        )
        self.batches_refused = counter(
            "batches_refused",
            "Batches refused entirely, by error code, including decoding and backpressure.",
            ("code",),
        )
        self.backpressure_refusals = counter(
            "backpressure_refusals",
            "Requests told to retry (429, 503, 507), by reason. Rising: add disk space or a node; for "
            "quota_exceeded: a workspace sends more than its quota.",
            ("reason",),
        )
        self.duplicate_batches = counter(
            "duplicate_batches", "Batches recognised by their id and not stored again."
        )
        self.quarantined_rows = counter(
            "quarantined_rows", "Rows that could not be written. Any: report a bug."
        )
        self.kafka_foreign_records = counter(
            "kafka_foreign_records",
            "Records of the topic that this service did not write and that are kept in quarantine. Any: "
            "another program writes to the topic; GET /status names them.",
        )
        self.promoted_values_unfit = counter(
            "promoted_values_unfit",
            "Values that do not fit their promoted column and are null there; the payload still has them. "
            "Rising: clients send another type than the configured one.",
            ("kind", "column"),
        )
        self.catalog_files = counter("catalog_files", "Data files registered in tables of the catalog.")
        self.catalog_errors = counter(
            "catalog_errors",
            "Failed registrations of data files in tables, which are retried. Rising: check the catalog.",
        )
        self.group_rows = histogram("commit_group_rows", "Rows made durable by one sync.", _GROUP_ROWS)
        self.group_batches = histogram(
            "commit_group_batches",
            "Batches made durable by one sync. High: the disk is slower than the clients.",
            (1, 2, 4, 8, 16, 32, 64, 128, 512, 2_048),
        )
        self.sync_seconds = histogram(
            "journal_sync_seconds",
            "Time of one fdatasync of the journal, seconds. Rising: the disk is busy or failing.",
            _SYNC_SECONDS,
        )
        self.flush_seconds = histogram(
            "flush_seconds",
            "Time of one publish of buffered rows, from staging to the manifest's record, seconds. Rising: "
            "the disk or the object store is slow.",
            _FLUSH_SECONDS,
        )
        self.recovery_rows = Gauge(
            "parquet_sink_recovery_rows",
            "Rows that the last start replayed from the journal.",
            registry=registry,
        )
        self.recovery_seconds = Gauge(
            "parquet_sink_recovery_seconds", "Duration of the last start's recovery.", registry=registry
        )
        self.recovery_cut_bytes = Gauge(
            "parquet_sink_recovery_cut_bytes",
            "Bytes of a torn journal tail (never acknowledged) that the last start moved aside.",
            registry=registry,
        )

    def count_rows(self, workspace_id: int, rows: int) -> None:
        """Counts rows of a workspace that are durable."""
        self.workspace_rows.labels(self.workspaces.of(workspace_id)).inc(rows)

    def count_usage(self, workspace_id: int, rows: int, size: int) -> None:
        """Counts rows of a workspace that are durable, and their bytes."""
        self.count_rows(workspace_id, rows)
        self.workspace_bytes.labels(self.workspaces.of(workspace_id)).inc(size)

    def observe(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Adds a gauge that is read at each scrape: a level that a part of the service reports."""
        Gauge(f"parquet_sink_{name}", text, registry=self._registry).set_function(read)

    def state(self, name: str, text: str, value: float, **labels: str) -> None:
        """Adds a gauge with a fixed value: a limit, or a fact about this process."""
        gauge = Gauge(f"parquet_sink_{name}", text, tuple(labels), registry=self._registry)
        (gauge.labels(**labels) if labels else gauge).set(value)
