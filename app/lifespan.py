"""The composition root: from settings to running parts, and what happens at regular times while they run."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

from fastapi import FastAPI

from app.admission import AdmissionPolicy
from app.api_keys import ApiKeys
from app.catalog.client import CatalogMisconfigured
from app.catalog.registrar import Registrar
from app.commit import Committer, TakesBatches
from app.deduplication import DeduplicationPolicy
from app.durable_fs import DurableFS
from app.gathering import GroupPolicy
from app.journal.policy import JournalPolicy
from app.kafka.client import KafkaMisconfigured, require_client
from app.kafka.place import SharedBucket, SharedDirectory
from app.kafka.policy import Role
from app.kafka.service import KafkaPolicies, KafkaService
from app.metrics import Metrics
from app.object_store.client import StoreMisconfigured
from app.object_store.store import ObjectStore
from app.observers import CatalogObserver
from app.parquet.layout import Layout
from app.parquet.partition import Rotation
from app.parquet.paths import SinkPaths
from app.parquet.rotation import WriterPolicy
from app.policies import Policies
from app.service import Service
from app.settings import ConfigurationError, Settings
from app.start_patience import StartStopped
from app.submission import DecodePolicy
from app.workers.crew import Crew

log = logging.getLogger(__name__)

SPACE_INTERVAL_S: Final = 1.0
KEYS_INTERVAL_S: Final = 5.0


def now_ms() -> int:
    """Wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


AnyService = Service | KafkaService


def build_service(
    settings: Settings,
    metrics: Metrics,
    request_exit: Callable[[], None],
    new_committer: Callable[..., TakesBatches] = Committer,
) -> AnyService:
    """All parts with their policies; nothing is opened yet. request_exit: asks the server to end."""
    if settings.journal.type == "kafka":
        return _build_kafka_service(settings, metrics, request_exit)
    service = Service(
        DurableFS(),
        sink_paths(settings),
        policies(settings),
        metrics,
        now_ms,
        request_exit,
        store=(store := object_store(settings)),
        catalog=table_catalog(settings, store, metrics),
        new_committer=new_committer,
    )
    metrics.observe("journal_bytes", "Size of the journal.", lambda: service.levels().journal_bytes)
    metrics.observe("buffered_bytes", "Rows not yet in files.", lambda: service.levels().buffered_bytes)
    metrics.observe("buffered_rows", "The same, in rows.", service.buffered_rows)
    metrics.observe("open_partitions", "Partitions with buffered rows.", service.open_partitions)
    metrics.observe("oldest_row_age_seconds", "Age of the oldest row not in a file.", service.oldest_age_s)
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
            _layout(settings),
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


def policies(settings: Settings) -> Policies:
    """What each part is told."""
    server, journal, sink = settings.server, settings.journal, settings.sink
    return Policies(
        admission=AdmissionPolicy(
            max_inflight_bytes=server.max_inflight_size,
            max_workspace_inflight_bytes=max(
                int(server.max_inflight_size * server.workspace_share), server.max_body_size
            ),
            max_buffered_bytes=sink.max_buffered_size,
            max_workspace_buffered_bytes=int(sink.max_buffered_size * server.workspace_share),
            max_journal_bytes=journal.max_size,
            min_free_bytes=journal.min_free_space,
            resume_free_bytes=journal.resume_free_space,
            min_free_inodes=journal.min_free_inodes,
        ),
        decode=DecodePolicy(
            payload_must_be_json=sink.data_format == "json",
            max_rows=server.max_rows_per_request,
            max_expanded_bytes=server.max_expanded_size,
        ),
        group=GroupPolicy(
            max_bytes=journal.max_group_size,
            max_batches=journal.max_group_batches,
            max_buffered_bytes=2 * sink.max_buffered_size,
        ),
        deduplication=DeduplicationPolicy(max_batches=journal.deduplication_batches),
        journal=JournalPolicy(acknowledge=journal.acknowledge, segment_bytes=journal.segment_size),
        writer=WriterPolicy(
            rotation=Rotation(sink.rotation),
            layout=_layout(settings),
            flush_interval_ms=int(sink.flush_interval * 1000),
            max_file_bytes=sink.max_file_size,
            row_group_rows=sink.row_group_rows,
            row_group_bytes=sink.row_group_size,
            max_buffered_bytes=sink.max_buffered_size,
            max_journal_bytes=journal.max_size,
            node=server.node_id,
            writer_version=f"parquet-sink {version('parquet-sink')}",
        ),
        reserve_bytes=journal.reserve_size,
        drain_timeout_s=server.drain_timeout,
        publish_timeout_s=server.request_timeout,
    )


def _layout(settings: Settings) -> Layout:
    sink = settings.sink
    return Layout(
        codec=sink.compression,
        level=sink.compression_level,
        payload_is_json=sink.payload_type == "json",
        promotions=tuple(each.promotion for each in sink.promote),
        for_tables=settings.catalog.enabled,
    )


@asynccontextmanager
async def running(
    app: FastAPI, service: AnyService, keys: ApiKeys, summary_interval_s: float | None, crew: Crew | None
) -> AsyncIterator[None]:
    """Recovers in the background, serves, drains. The data directory is locked (Service.lock) before that.

    summary_interval_s: how often a line in the log says what was done; None for never.
    """
    if crew is not None:
        crew.start(asyncio.get_running_loop())
    tasks = [
        asyncio.create_task(_open(service)),
        asyncio.create_task(repeatedly(SPACE_INTERVAL_S, service.check_space)),
        asyncio.create_task(repeatedly(KEYS_INTERVAL_S, keys.reload_if_changed)),
    ]
    if summary_interval_s is not None:
        tasks.append(asyncio.create_task(repeatedly(summary_interval_s, service.log_summary)))
    try:
        yield
    finally:
        # The opening runs in a thread, and ends sooner or later.
        service.stop_opening()
        await tasks[0]
        for task in tasks[1:]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if crew is not None:
            await asyncio.to_thread(crew.stop)
        await asyncio.to_thread(service.close)


async def _open(service: AnyService) -> None:
    try:
        await asyncio.to_thread(service.open, asyncio.get_running_loop())
    except StartStopped:
        log.info("stopped before the start was through")
    except Exception as error:
        service.fail(error)


async def repeatedly(seconds: float, call: Callable[[], object]) -> None:
    """Calls, in a thread, again and again. An error is logged, and the next call is made all the same."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(call)
        except Exception:
            log.exception("%s failed", getattr(call, "__qualname__", call))
