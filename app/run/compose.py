"""Puts the running parts together, once."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from app.catalog.client import CatalogMisconfigured
from app.catalog.promoted_names import PROMOTED_FILE, Known, load_known, settled
from app.catalog.registrar import Registrar
from app.commit.tap import Watch, unwatched
from app.disk.durable_fs import DurableFS
from app.kafka.client import KafkaMisconfigured, require_client
from app.kafka.place import SharedBucket, SharedDirectory
from app.kafka.policy import Role
from app.metrics import Metrics
from app.object_store.client import StoreMisconfigured
from app.object_store.store import ObjectStore
from app.parquet.layout import Layout
from app.publish.paths import SinkPaths
from app.run.gauges import observe_build, observe_kafka_service, observe_service
from app.run.kafka_service import KafkaPolicies, KafkaService
from app.run.local_service import Service
from app.run.observers import CatalogObserver
from app.run.pipelines import NewPipeline, pipeline_of_batches
from app.settings.plan import policies
from app.settings.settings import ConfigurationError, Settings

log = logging.getLogger(__name__)


def now_ms() -> int:
    """Wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """A monotonic clock, ms."""
    return time.monotonic_ns() // 1_000_000


AnyService = Service | KafkaService


def build_service(
    settings: Settings,
    metrics: Metrics,
    request_exit: Callable[[], None],
    new_pipeline: NewPipeline = pipeline_of_batches,
    watch: Watch = unwatched,
) -> AnyService:
    """All parts with their policies; nothing is opened yet. request_exit: asks the server to exit.

    watch: called with accepted rows; never with a Kafka journal.
    """
    observe_build(metrics)
    if settings.journal.type == "kafka":
        return _build_kafka_service(settings, metrics, request_exit)
    plan = policies(settings)
    layout, promoted = _settled_layout(settings, plan.writer.layout)
    plan = msgspec.structs.replace(plan, writer=msgspec.structs.replace(plan.writer, layout=layout))
    service = Service(
        DurableFS(),
        sink_paths(settings),
        plan,
        metrics,
        now_ms,
        monotonic_ms,
        request_exit,
        store=(store := object_store(settings)),
        catalog=table_catalog(settings, store, metrics, layout, promoted),
        new_pipeline=new_pipeline,
        watch=watch,
    )
    observe_service(metrics, service, plan.admission, settings)
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
        local.quotas,
    )
    service = KafkaService(place, kafka_policies, metrics, now_ms, request_exit, store)
    observe_kafka_service(metrics, service, local.admission, settings)
    return service


def sink_paths(settings: Settings) -> SinkPaths:
    directory = settings.sink.directory
    return SinkPaths(directory and directory.absolute(), settings.journal.path.absolute())


def _settled_layout(settings: Settings, layout: Layout) -> tuple[Layout, Known]:
    """Promotions under the names they have with tables, where a changed type requires another name. Raises
    ConfigurationError."""
    if not layout.for_tables:
        return layout, {}
    try:
        known = load_known(DurableFS(), sink_paths(settings).state)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(
            [f"journal.path: the file {PROMOTED_FILE} in it cannot be read: {error}"]
        ) from None
    promotions, promoted = settled(layout.promotions, known)
    for before, after in zip(layout.promotions, promotions, strict=True):
        if before != after:
            log.warning(
                "the promoted column %s had another type before: values are now promoted to the column %s",
                before.name,
                after.name,
            )
    return msgspec.structs.replace(layout, promotions=promotions), promoted


def table_catalog(
    settings: Settings, store: ObjectStore | None, metrics: Metrics, layout: Layout, promoted: Known
) -> Registrar | None:
    """The registrar of published files in tables, if one is configured. Raises ConfigurationError."""
    catalog, place = settings.catalog, settings.sink.directory if store is None else store.policy
    if not catalog.enabled or place is None:
        return None
    try:
        registrar = Registrar(
            catalog.policy(place, settings.server.node_id),
            layout,
            DurableFS(),
            sink_paths(settings).state,
            now_ms,
            embedded=catalog.embedded,
            observer=CatalogObserver(metrics),
            promoted=promoted,
        )
    except CatalogMisconfigured as error:
        raise ConfigurationError([f"catalog.type: {error}"]) from None
    metrics.observe(
        "catalog_lag_files",
        "Data files that are not in a table of the catalog yet.",
        lambda: registrar.lag().files,
    )
    metrics.observe(
        "catalog_left_out_files",
        "Data files that do not fit their table and are not in it. Any: GET /status names them.",
        lambda: len(registrar.left_out),
    )
    metrics.observe(
        "catalog_lag_commits",
        "Commits of data files that are not in a table of the catalog yet.",
        lambda: registrar.lag().commits,
    )
    metrics.observe(
        "catalog_lag_seconds",
        "Age of the oldest file that is not in a table. Rising: check the catalog; no row is at risk.",
        lambda: registrar.lag().seconds,
    )
    return registrar


def object_store(settings: Settings) -> ObjectStore | None:
    """The object store for files, if they do not go to a directory. Raises ConfigurationError."""
    sink = settings.sink
    if sink.url is None:
        return None
    try:
        return ObjectStore(sink.store.policy(sink.url))
    except StoreMisconfigured as error:
        raise ConfigurationError([f"sinks.{next(iter(settings.sinks))}.path: {error}"]) from None
