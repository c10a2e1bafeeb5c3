"""Puts the running parts together, once."""

import time
from collections.abc import Callable
from pathlib import Path

from app.catalog.client import CatalogMisconfigured
from app.catalog.registrar import Registrar
from app.commit.tap import Watch, unwatched
from app.disk.durable_fs import DurableFS
from app.kafka.client import KafkaMisconfigured, require_client
from app.kafka.place import SharedBucket, SharedDirectory
from app.kafka.policy import Role
from app.metrics import Metrics
from app.object_store.client import StoreMisconfigured
from app.object_store.store import ObjectStore
from app.publish.paths import SinkPaths
from app.run.kafka_service import KafkaPolicies, KafkaService
from app.run.local_service import Service
from app.run.observers import CatalogObserver
from app.run.pipelines import NewPipeline, pipeline_of_batches
from app.settings.plan import layout_of, policies
from app.settings.settings import ConfigurationError, Settings


def now_ms() -> int:
    """Wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """A clock that is never set, ms."""
    return time.monotonic_ns() // 1_000_000


AnyService = Service | KafkaService


def build_service(
    settings: Settings,
    metrics: Metrics,
    request_exit: Callable[[], None],
    new_pipeline: NewPipeline = pipeline_of_batches,
    watch: Watch = unwatched,
) -> AnyService:
    """All parts with their policies; nothing is opened yet. request_exit: asks the server to end.

    watch: is shown rows that were accepted; with a Kafka journal it is not.
    """
    if settings.journal.type == "kafka":
        return _build_kafka_service(settings, metrics, request_exit)
    service = Service(
        DurableFS(),
        sink_paths(settings),
        policies(settings),
        metrics,
        now_ms,
        monotonic_ms,
        request_exit,
        store=(store := object_store(settings)),
        catalog=table_catalog(settings, store, metrics),
        new_pipeline=new_pipeline,
        watch=watch,
    )
    metrics.observe("journal_bytes", "Size of the journal.", lambda: service.levels().journal_bytes)
    metrics.observe("buffered_bytes", "Memory of rows that are not in files yet.", service.buffered_bytes)
    metrics.observe("buffered_rows", "The same, in rows.", service.buffered_rows)
    metrics.observe("open_partitions", "Partitions with buffered rows.", service.open_partitions)
    metrics.observe("oldest_row_age_seconds", "Age of the oldest row not in a file.", service.oldest_age_s)
    metrics.observe(
        "publish_failing_seconds",
        "How long publishing has failed, of one partition or of all; 0 when it works. Above a minute: look "
        "at the log and GET /status.",
        service.problem_age_s,
    )
    metrics.observe(
        "lost_rows",
        "Published rows whose file is gone or changed, and that the journal had no more. Any: GET /status "
        "names the files.",
        service.lost_rows,
    )
    metrics.observe("inflight_bytes", "Bodies not answered yet.", lambda: service.admission.inflight_bytes)
    metrics.observe("free_bytes", "Free space of the fullest disk.", lambda: service.levels().free_bytes)
    return service


def _build_kafka_service(
    settings: Settings, metrics: Metrics, request_exit: Callable[[], None]
) -> KafkaService:
    store, directory = object_store(settings), settings.sink.directory
    place = SharedBucket(store) if store else SharedDirectory(DurableFS(), (directory or Path()).absolute())
    try:
        require_client()
        kafka = settings.journal.kafka_policy(settings.server.max_inflight_size)
    except (KafkaMisconfigured, OSError, ValueError) as error:
        raise ConfigurationError([f"journal: {error}"]) from None
    local = policies(settings)
    kafka_policies = KafkaPolicies(
        Role(settings.server.role),
        kafka,
        local.admission,
        local.decode,
        local.group,
        local.deduplication,
        local.writer,
        local.drain_timeout_s,
        local.publish_timeout_s,
    )
    service = KafkaService(place, kafka_policies, metrics, now_ms, request_exit, store)
    metrics.observe("kafka_lag", "Records not in files, of this writer's partitions.", service.lag)
    metrics.observe("buffered_bytes", "Rows read and not yet in files.", service.buffered_bytes)
    metrics.observe("buffered_rows", "The same, in rows.", service.buffered_rows)
    metrics.observe("oldest_row_age_seconds", "Age of the oldest row not in a file.", service.oldest_age_s)
    metrics.observe("inflight_bytes", "Bodies not answered yet.", lambda: service.admission.inflight_bytes)
    return service


def sink_paths(settings: Settings) -> SinkPaths:
    directory = settings.sink.directory
    return SinkPaths(directory and directory.absolute(), settings.journal.path.absolute())


def table_catalog(settings: Settings, store: ObjectStore | None, metrics: Metrics) -> Registrar | None:
    """What lists published files in tables, if anything does. Raises ConfigurationError."""
    catalog, place = settings.catalog, settings.sink.directory if store is None else store.policy
    if not catalog.enabled or place is None:
        return None
    try:
        registrar = Registrar(
            catalog.policy(place, settings.server.node_id),
            layout_of(settings),
            DurableFS(),
            sink_paths(settings).state,
            now_ms,
            embedded=catalog.embedded,
            observer=CatalogObserver(metrics),
        )
    except CatalogMisconfigured as error:
        raise ConfigurationError([f"catalog.type: {error}"]) from None
    metrics.observe("catalog_lag_files", "Files not in a table.", lambda: registrar.lag().files)
    metrics.observe("catalog_lag_commits", "The same, in commits.", lambda: registrar.lag().commits)
    metrics.observe(
        "catalog_lag_seconds",
        "Age of the oldest file that is not in a table. Rising: look at the catalog; no row is at risk.",
        lambda: registrar.lag().seconds,
    )
    return registrar


def object_store(settings: Settings) -> ObjectStore | None:
    """Where files go when they do not go to a directory. Raises ConfigurationError."""
    sink = settings.sink
    if sink.url is None:
        return None
    try:
        return ObjectStore(sink.store.policy(sink.url))
    except StoreMisconfigured as error:
        raise ConfigurationError([f"sinks.{next(iter(settings.sinks))}.path: {error}"]) from None
