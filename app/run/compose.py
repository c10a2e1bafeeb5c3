"""Puts the running parts together, once."""

import logging
import time
from collections.abc import Callable

import msgspec

from app.catalog.client import CatalogMisconfigured
from app.catalog.promoted_names import PROMOTED_FILE, Known, load_known, settled
from app.catalog.registrar import Registrar
from app.commit.tap import Watch, unwatched
from app.disk.durable_fs import DurableFS
from app.errors import ConfigurationError
from app.kafka.client import KafkaMisconfigured, require_client
from app.kafka.shared_place import SharedBucket, SharedDirectory, SharedPlace
from app.metrics import Metrics
from app.object_store.client import StoreMisconfigured
from app.object_store.store import ObjectStore
from app.parquet.layout import Layout
from app.run.gauges import observe_build, observe_kafka_service, observe_service
from app.run.kafka_service import KafkaService
from app.run.local_service import Service
from app.run.observers import CatalogObserver
from app.run.pipelines import NewPipeline, pipeline_of_batches
from app.settings.plan import KafkaPlan, Plan, StoragePlan

log = logging.getLogger(__name__)


def now_ms() -> int:
    """Wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """A monotonic clock, ms."""
    return time.monotonic_ns() // 1_000_000


AnyService = Service | KafkaService


def build_service(
    plan: Plan,
    metrics: Metrics,
    request_exit: Callable[[], None],
    new_pipeline: NewPipeline = pipeline_of_batches,
    watch: Watch = unwatched,
) -> AnyService:
    """All parts with their policies; nothing is opened yet. request_exit: asks the server to exit.

    watch: called with accepted rows; never with a Kafka journal.
    """
    observe_build(metrics)
    if plan.kafka is not None:
        return _build_kafka_service(plan, plan.kafka, metrics, request_exit)
    policies, storage = plan.policies, plan.storage
    layout, promoted = _settled_layout(storage, policies.writer.layout)
    writer = msgspec.structs.replace(policies.writer, layout=layout)
    service = Service(
        DurableFS(),
        storage.paths,
        msgspec.structs.replace(policies, writer=writer),
        metrics,
        now_ms,
        monotonic_ms,
        request_exit,
        store=object_store(storage),
        catalog=table_catalog(plan, metrics, layout, promoted),
        new_pipeline=new_pipeline,
        watch=watch,
    )
    observe_service(metrics, service, plan)
    return service


def _build_kafka_service(
    plan: Plan, kafka: KafkaPlan, metrics: Metrics, request_exit: Callable[[], None]
) -> KafkaService:
    try:
        require_client()
    except KafkaMisconfigured as error:
        raise ConfigurationError([f"journal: {error}"]) from None
    store, directory = object_store(plan.storage), plan.storage.paths.data
    if store is not None:
        place: SharedPlace = SharedBucket(store)
    else:
        assert directory is not None, "files are in a directory or in a bucket"
        place = SharedDirectory(DurableFS(), directory)
    service = KafkaService(place, kafka, plan.policies, metrics, now_ms, request_exit, store)
    observe_kafka_service(metrics, service, plan)
    return service


def _settled_layout(storage: StoragePlan, layout: Layout) -> tuple[Layout, Known]:
    """Promotions under the names they have with tables, where a changed type requires another name. Raises
    ConfigurationError."""
    if not layout.for_tables:
        return layout, {}
    try:
        known = load_known(DurableFS(), storage.paths.state)
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


def table_catalog(plan: Plan, metrics: Metrics, layout: Layout, promoted: Known) -> Registrar | None:
    """The registrar of published files in tables, if one is configured. Raises ConfigurationError."""
    if plan.catalog is None:
        return None
    try:
        registrar = Registrar(
            plan.catalog.policy,
            layout,
            DurableFS(),
            plan.storage.paths.state,
            now_ms,
            embedded=plan.catalog.embedded,
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


def object_store(storage: StoragePlan) -> ObjectStore | None:
    """The object store for files, if they do not go to a directory. Raises ConfigurationError."""
    if storage.store is None:
        return None
    try:
        return ObjectStore(storage.store)
    except StoreMisconfigured as error:
        raise ConfigurationError([f"{storage.key}: {error}"]) from None
