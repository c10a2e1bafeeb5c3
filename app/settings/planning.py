"""Turns the settings into the plan that the running service is built from: policies, paths and limits."""

from importlib.metadata import version
from typing import Final

import msgspec

from app.api.connection.guarded_protocol import ConnectionPolicy
from app.api.ingest_request import IngestPolicy
from app.commit.admission import AdmissionPolicy
from app.commit.batch_ids import DeduplicationPolicy
from app.commit.group_queue import GroupPolicy
from app.decode.time_range import TimeRange
from app.errors import ConfigurationError
from app.journal.policy import JournalPolicy
from app.kafka.policy import Role
from app.parquet.laid_again import LayingPolicy
from app.parquet.layout import Layout
from app.parquet.location import Folders
from app.parquet.partition import Rotation
from app.parquet.placing import Placing, Placings
from app.publish.final_policy import FinalPolicy
from app.publish.paths import SinkPaths
from app.publish.rotation import WriterPolicy
from app.query.policy import Lake, QueryPolicy
from app.settings.ingest import parse_date
from app.settings.plan import (
    AuthPlan,
    CatalogPlan,
    IngestPlan,
    KafkaPlan,
    ListeningPlan,
    LogPlan,
    MetricsPlan,
    Plan,
    Policies,
    QueryPlan,
    StoragePlan,
    TlsFiles,
)
from app.settings.quota import quota_policies
from app.settings.retention import retention_policy
from app.settings.settings import Settings
from app.submission import DecodePolicy

EARLY_FLUSH_DIRECTORY: Final = 1 << 20
"""To save memory, a file in a directory is grown early only by rows that use at least this many bytes; fewer
are left to the journal."""

EARLY_FLUSH_BUCKET: Final = 32 << 20
"""The same in a bucket, where each flush makes an object that never grows."""


def plan_of(settings: Settings) -> Plan:
    """The plan that follows from the settings. Reads Kafka's properties file. Raises ConfigurationError."""
    auth, sink, storage = settings.auth, settings.sink, _storage(settings)
    # A client that waits for longer gives up, and the stop would wait for what nobody reads.
    longest_s = min(auth.wrong_key_delay_max, settings.server.request_timeout)
    return Plan(
        listening=_listening(settings),
        ingest=_ingest(settings),
        auth=AuthPlan(auth.api_keys_file, auth.admin_token, longest_s),
        log=LogPlan(settings.log.format, settings.log.level, settings.log.levels, settings.server.access_log),
        metrics=MetricsPlan(sink.metrics_enabled, sink.metrics_interval, sink.metrics_workspaces),
        storage=storage,
        catalog=_catalog(settings, storage),
        kafka=_kafka(settings),
        query=QueryPlan(
            settings.query.enabled,
            _query_policy(settings),
            _lake(settings, storage),
            settings.query.max_listeners,
        ),
        policies=_policies(settings),
    )


def _listening(settings: Settings) -> ListeningPlan:
    server = settings.server
    tls = None
    if server.tls_certificate is not None and server.tls_key is not None:
        tls = TlsFiles(server.tls_certificate, server.tls_key, server.tls_client_ca)
    return ListeningPlan(
        host=server.host,
        port=server.port,
        backlog=server.backlog,
        on_loopback=server.on_loopback,
        tls=tls,
        workers=server.workers,
        max_connections=server.max_connections,
        connection=ConnectionPolicy(
            int(server.max_header_size),
            server.request_timeout,
            server.keep_alive_timeout,
            max(server.max_connections_per_address // server.workers, 1),
        ),
        drain_timeout_s=server.drain_timeout,
    )


def _ingest(settings: Settings) -> IngestPlan:
    server = settings.server
    return IngestPlan(
        is_taken=server.role != "writer",
        policy=IngestPolicy(
            max_body_bytes=int(server.max_body_size),
            body_timeout_s=server.request_timeout,
            answer_timeout_s=server.request_timeout,
            knows_repeats=settings.ingest.repeat_window > 0,
        ),
        trusted_proxies=server.trusted_proxies,
        cors_origins=server.cors_origins,
        maps=[each.mapping for each in settings.ingest.map],
    )


def _storage(settings: Settings) -> StoragePlan:
    sink = settings.sink
    (name,) = settings.sinks
    return StoragePlan(
        paths=SinkPaths(sink.directory and sink.directory.absolute(), settings.journal.path.absolute()),
        store=None if sink.url is None else sink.store.policy(sink.url),
        shown=str(sink.path),
        key=f"sinks.{name}.path",
    )


def _catalog(settings: Settings, storage: StoragePlan) -> CatalogPlan | None:
    catalog = settings.catalog
    place = storage.store or storage.paths.data
    if not catalog.enabled or place is None:
        return None
    return CatalogPlan(catalog.policy(place, settings.server.node_id), catalog.embedded)


def _kafka(settings: Settings) -> KafkaPlan | None:
    if settings.journal.type != "kafka":
        return None
    try:
        policy = settings.journal.kafka_policy(int(settings.server.max_inflight_size))
    except (OSError, ValueError) as error:
        raise ConfigurationError([f"journal: {error}"]) from None
    return KafkaPlan(Role(settings.server.role), policy)


def _query_policy(settings: Settings) -> QueryPolicy:
    query = settings.query
    return QueryPolicy(
        timeout_s=query.timeout,
        memory_bytes=int(query.max_memory),
        rows_max=query.max_rows,
        result_bytes=int(query.max_result_size),
        threads=query.threads,
        concurrent=query.max_concurrent,
        waiting=query.max_waiting,
        wait_s=query.wait,
        nice=query.nice,
    )


def _lake(settings: Settings, storage: StoragePlan) -> Lake:
    sink, paths = settings.sink, storage.paths
    return Lake(
        data=None if paths.data is None else str(paths.data),
        state=str(paths.state),
        payload_is_json=sink.data_format == "json",
        promotions=tuple(each.promotion for each in sink.promote),
        store=storage.store,
    )


def _policies(settings: Settings) -> Policies:
    server, journal, ingest = settings.server, settings.journal, settings.ingest
    return Policies(
        admission=_admission(settings),
        decode=DecodePolicy(
            payload_must_be_json=settings.sink.data_format == "json",
            max_rows=server.max_rows_per_request,
            max_expanded_bytes=int(server.max_expanded_size),
            times=TimeRange(parse_date(ingest.timestamp_min), int(ingest.timestamp_ahead * 1000)),
            ids_from_names=ingest.ids == "name-based",
        ),
        group=GroupPolicy(
            max_bytes=int(journal.max_group_size),
            max_batches=journal.max_group_batches,
        ),
        max_delay_s=server.max_delay,
        deduplication=DeduplicationPolicy(
            max_batches=journal.deduplication_batches,
            max_messages=journal.deduplication_messages,
            repeat_window_ms=int(ingest.repeat_window * 1000),
        ),
        journal=JournalPolicy(acknowledge=journal.acknowledge, segment_bytes=int(journal.segment_size)),
        writer=_writer(settings),
        reserve_bytes=int(journal.reserve_size),
        drain_timeout_s=server.drain_timeout,
        publish_timeout_s=server.request_timeout,
        quotas=quota_policies(settings.quota),
    )


def _admission(settings: Settings) -> AdmissionPolicy:
    server, journal = settings.server, settings.journal
    return AdmissionPolicy(
        max_inflight_bytes=int(server.max_inflight_size),
        max_workspace_inflight_bytes=max(
            int(server.max_inflight_size * server.workspace_share), int(server.max_body_size)
        ),
        max_journal_bytes=int(journal.max_size),
        max_workspace_journal_bytes=int(journal.max_size * server.workspace_share),
        min_free_bytes=int(journal.min_free_space),
        resume_free_bytes=int(journal.resume_free_space),
        min_free_inodes=journal.min_free_inodes,
    )


def _writer(settings: Settings) -> WriterPolicy:
    sink = settings.sink
    placing = Placing(int(sink.late_window * 1000) if sink.partition_by == "happened" else None)
    return WriterPolicy(
        rotation=Rotation(sink.rotation),
        layout=_layout(settings),
        flush_interval_ms=int(sink.flush_interval * 1000),
        max_file_bytes=int(sink.max_file_size),
        row_group_rows=sink.row_group_rows,
        row_group_bytes=int(sink.row_group_size),
        max_buffered_bytes=int(sink.max_buffered_size),
        early_flush_bytes=EARLY_FLUSH_BUCKET if sink.url is not None else EARLY_FLUSH_DIRECTORY,
        max_journal_bytes=int(settings.journal.max_size),
        node=settings.server.node_id,
        folders=Folders(sink.layout),
        placings=Placings().changed(placing, 0),
        retention=retention_policy(settings.retention),
        final=_final(settings),
        grace_ms=int(sink.final.grace * 1000),
        writer_version=f"parquet-sink {version('parquet-sink')}",
    )


def _layout(settings: Settings) -> Layout:
    sink = settings.sink
    return Layout(
        codec=sink.compression,
        level=sink.compression_level,
        annotations=sink.annotations,
        ids_as_binary=sink.ids_as == "binary",
        promotions=tuple(each.promotion for each in sink.promote),
        for_tables=settings.catalog.enabled,
    )


def _final(settings: Settings) -> FinalPolicy | None:
    """None if files are not compacted: it is switched off, or published files may not change."""
    sink = settings.sink
    can = sink.directory is not None and settings.journal.type == "local" and not settings.catalog.enabled
    if not can or sink.final.enabled is False:
        return None
    layout = _layout(settings)
    if sink.final.compression is not None:
        codec, level = sink.final.compression, sink.final.compression_level
        layout = msgspec.structs.replace(layout, codec=codec, level=level)
    return FinalPolicy(
        laying=LayingPolicy(layout=layout, sort=tuple(sink.final.sort)),
        share=sink.final.share,
        free_bytes_min=int(settings.journal.resume_free_space),
    )
