"""The levels that are read at each scrape, each with its limit, and the build's version."""

import platform
from importlib.metadata import version

from app.metrics import Metrics
from app.run.kafka_service import KafkaService
from app.run.local_service import Service
from app.run.tls import ReloadedTls
from app.settings.plan import Plan


def observe_build(metrics: Metrics) -> None:
    metrics.state(
        "build_info",
        "Always 1; its labels are the versions of the service and of Python.",
        1,
        version=version("parquet-sink"),
        python=platform.python_version(),
    )


def observe_certificate(metrics: Metrics, tls: ReloadedTls) -> None:
    metrics.observe(
        "tls_certificate_end_seconds",
        "When the current TLS certificate expires, seconds since the epoch. Within two weeks: renew it.",
        lambda: tls.end_s,
    )


def observe_admission(metrics: Metrics, plan: Plan) -> None:
    metrics.state(
        "inflight_limit_bytes",
        "Bytes of request bodies that may be in flight; above this, requests are refused "
        "(server.max_inflight_size).",
        plan.policies.admission.max_inflight_bytes,
    )
    metrics.state(
        "connections_limit",
        "Connections that may be open; above this, requests are answered 503 (server.max_connections).",
        plan.listening.max_connections,
    )


def observe_service(metrics: Metrics, service: Service, plan: Plan) -> None:
    """Gauges of a service with a journal of its own."""
    observe, state = metrics.observe, metrics.state
    observe("journal_bytes", "Size of the journal on disk.", lambda: service.levels().journal_bytes)
    state(
        "journal_limit_bytes",
        "Size of the journal above which batches are refused (journal.max_size).",
        plan.policies.admission.max_journal_bytes,
    )
    observe(
        "buffered_bytes",
        "Memory used by rows that are durable but not in files yet; further rows wait in the journal only.",
        service.buffered_bytes,
    )
    state(
        "buffered_limit_bytes",
        "Memory available for rows that are not in files yet (max_buffered_size of the sink).",
        plan.policies.writer.max_buffered_bytes,
    )
    observe(
        "missing_files",
        "Published files that have been removed or truncated since. Any: GET /files shows their state.",
        lambda: len(service.missing),
    )
    observe("buffered_rows", "Rows that are durable but not in files yet.", service.buffered_rows)
    observe("open_partitions", "Partitions with rows that are not in files yet.", service.open_partitions)
    observe(
        "oldest_row_age_seconds",
        "Age of the oldest row that is durable but not in a file. Far above flush_interval: publishing "
        "fails.",
        service.oldest_age_s,
    )
    observe(
        "publish_failing_seconds",
        "How long publishing has been failing, for one partition or for all; 0 when it works. Above a "
        "minute: check the log and GET /status.",
        service.problem_age_s,
    )
    observe(
        "lost_rows",
        "Published rows whose file is gone or changed, and that the journal no longer had. Any: GET /status "
        "names the files.",
        service.lost_rows,
    )
    observe(
        "inflight_bytes",
        "Bytes of request bodies that are being received or wait for their answer.",
        lambda: service.admission.inflight_bytes,
    )
    observe(
        "free_bytes",
        "Free space of the fullest disk that the service writes to.",
        lambda: service.levels().free_bytes,
    )
    state(
        "free_limit_bytes",
        "Free space below which batches are refused with 507 (journal.min_free_space).",
        plan.policies.admission.min_free_bytes,
    )
    observe(
        "ready",
        "1 while batches are taken, 0 while they are refused. GET /ready says why.",
        lambda: 0 if service.reasons_not_ready() else 1,
    )
    observe_admission(metrics, plan)


def observe_kafka_service(metrics: Metrics, service: KafkaService, plan: Plan) -> None:
    """Gauges of a service whose journal is Kafka."""
    observe = metrics.observe
    observe(
        "kafka_lag",
        "Records in Kafka that are not in files yet, in the partitions assigned to this writer. Rising: add "
        "writers.",
        service.lag,
    )
    observe(
        "buffered_bytes",
        "Memory used by rows that were read from Kafka but are not in files yet.",
        service.buffered_bytes,
    )
    observe(
        "buffered_rows", "Rows that were read from Kafka but are not in files yet.", service.buffered_rows
    )
    observe(
        "oldest_row_age_seconds",
        "Age of the oldest row that was read from Kafka but is not in a file.",
        service.oldest_age_s,
    )
    observe(
        "inflight_bytes",
        "Bytes of request bodies that are being received or wait for their answer.",
        lambda: service.admission.inflight_bytes,
    )
    observe(
        "ready",
        "1 while batches are taken, 0 while they are refused. GET /ready says why.",
        lambda: 0 if service.reasons_not_ready() else 1,
    )
    observe_admission(metrics, plan)
