"""Turns the settings into the policies, paths and limits that the parts of a service are built from."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

import msgspec

from app.api.connection.guarded_protocol import ConnectionPolicy
from app.commit.admission import AdmissionPolicy
from app.commit.batch_ids import DeduplicationPolicy
from app.commit.group_queue import GroupPolicy
from app.commit.quota_policy import QuotaPolicy
from app.decode.time_range import TimeRange
from app.journal.policy import JournalPolicy
from app.parquet.laid_again import LayingPolicy
from app.parquet.layout import Layout
from app.parquet.location import Folders
from app.parquet.partition import Rotation
from app.parquet.placing import Placing, Placings
from app.publish.final_policy import FinalPolicy
from app.publish.rotation import WriterPolicy
from app.query.policy import Lake, QueryPolicy
from app.settings.ingest import parse_date
from app.settings.quota import quota_policies
from app.settings.retention import retention_policy
from app.settings.settings import Settings
from app.submission import DecodePolicy

EARLY_FLUSH_DIRECTORY: Final = 1 << 20
"""To save memory, a file in a directory is grown early only by rows that use at least this many bytes; fewer
are left to the journal."""

EARLY_FLUSH_BUCKET: Final = 32 << 20
"""The same in a bucket, where each flush makes an object that never grows."""


class Policies(msgspec.Struct, frozen=True):
    """The policy of each part; each is documented with its class. max_delay_s: for JournalStore."""

    admission: AdmissionPolicy
    decode: DecodePolicy
    group: GroupPolicy
    max_delay_s: float
    deduplication: DeduplicationPolicy
    journal: JournalPolicy
    writer: WriterPolicy
    reserve_bytes: int
    drain_timeout_s: float
    publish_timeout_s: float
    quotas: Mapping[int | None, QuotaPolicy] = {}


def policies(settings: Settings) -> Policies:
    """The policies that follow from the settings."""
    server, journal, sink = settings.server, settings.journal, settings.sink
    return Policies(
        admission=AdmissionPolicy(
            max_inflight_bytes=server.max_inflight_size,
            max_workspace_inflight_bytes=max(
                int(server.max_inflight_size * server.workspace_share), server.max_body_size
            ),
            max_journal_bytes=journal.max_size,
            max_workspace_journal_bytes=int(journal.max_size * server.workspace_share),
            min_free_bytes=journal.min_free_space,
            resume_free_bytes=journal.resume_free_space,
            min_free_inodes=journal.min_free_inodes,
        ),
        decode=DecodePolicy(
            payload_must_be_json=sink.data_format == "json",
            max_rows=server.max_rows_per_request,
            max_expanded_bytes=server.max_expanded_size,
            times=TimeRange(
                parse_date(settings.ingest.timestamp_min), int(settings.ingest.timestamp_ahead * 1000)
            ),
            ids_from_names=settings.ingest.ids == "name-based",
        ),
        group=GroupPolicy(
            max_bytes=journal.max_group_size,
            max_batches=journal.max_group_batches,
        ),
        max_delay_s=server.max_delay,
        deduplication=DeduplicationPolicy(
            max_batches=journal.deduplication_batches,
            max_messages=journal.deduplication_messages,
            repeat_window_ms=int(settings.ingest.repeat_window * 1000),
        ),
        journal=JournalPolicy(acknowledge=journal.acknowledge, segment_bytes=journal.segment_size),
        writer=WriterPolicy(
            rotation=Rotation(sink.rotation),
            layout=layout_of(settings),
            flush_interval_ms=int(sink.flush_interval * 1000),
            max_file_bytes=sink.max_file_size,
            row_group_rows=sink.row_group_rows,
            row_group_bytes=sink.row_group_size,
            max_buffered_bytes=sink.max_buffered_size,
            early_flush_bytes=EARLY_FLUSH_BUCKET if sink.url is not None else EARLY_FLUSH_DIRECTORY,
            max_journal_bytes=journal.max_size,
            node=server.node_id,
            folders=Folders(sink.layout),
            placings=Placings().changed(placing_of(settings), 0),
            retention=retention_policy(settings.retention),
            final=final_policy(settings),
            grace_ms=int(sink.final.grace * 1000),
            writer_version=f"parquet-sink {version('parquet-sink')}",
        ),
        reserve_bytes=journal.reserve_size,
        drain_timeout_s=server.drain_timeout,
        publish_timeout_s=server.request_timeout,
        quotas=quota_policies(settings.quota),
    )


def placing_of(settings: Settings) -> Placing:
    sink = settings.sink
    return Placing(int(sink.late_window * 1000) if sink.partition_by == "happened" else None)


def layout_of(settings: Settings) -> Layout:
    sink = settings.sink
    return Layout(
        codec=sink.compression,
        level=sink.compression_level,
        annotations=sink.annotations,
        ids_as_binary=sink.ids_as == "binary",
        promotions=tuple(each.promotion for each in sink.promote),
        for_tables=settings.catalog.enabled,
    )


def final_policy(settings: Settings) -> FinalPolicy | None:
    """None if files are not compacted: it is switched off, or published files may not change."""
    sink = settings.sink
    can = sink.directory is not None and settings.journal.type == "local" and not settings.catalog.enabled
    if not can or sink.final.enabled is False:
        return None
    layout = layout_of(settings)
    if sink.final.compression is not None:
        codec, level = sink.final.compression, sink.final.compression_level
        layout = msgspec.structs.replace(layout, codec=codec, level=level)
    return FinalPolicy(
        laying=LayingPolicy(layout=layout, sort=tuple(sink.final.sort)),
        share=sink.final.share,
        free_bytes_min=settings.journal.resume_free_space,
    )


def query_policy(settings: Settings) -> QueryPolicy:
    """What a query at POST /query may cost."""
    query = settings.query
    return QueryPolicy(
        timeout_s=query.timeout,
        memory_bytes=query.max_memory,
        rows_max=query.max_rows,
        result_bytes=query.max_result_size,
        threads=query.threads,
        concurrent=query.max_concurrent,
        waiting=query.max_waiting,
        wait_s=query.wait,
        nice=query.nice,
    )


def lake_of(settings: Settings) -> Lake:
    """The files and the journal that queries read."""
    sink = settings.sink
    return Lake(
        data=str(sink.directory.absolute()) if sink.directory else None,
        state=str(settings.journal.path.absolute()),
        payload_is_json=sink.data_format == "json",
        promotions=tuple(each.promotion for each in sink.promote),
        store=sink.store.policy(sink.url) if sink.url is not None else None,
    )


def connection_policy(settings: Settings) -> ConnectionPolicy:
    """The limits of one connection."""
    server = settings.server
    return ConnectionPolicy(
        server.max_header_size,
        server.request_timeout,
        server.keep_alive_timeout,
        max(server.max_connections_per_address // server.workers, 1),
    )
