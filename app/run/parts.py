"""The parts of a service with a journal of its own, and their state for GET /status."""

from typing import Any

import msgspec

from app.api.answers import (
    BufferLevel,
    CatalogState,
    FailingPartition,
    JournalLevel,
    LostFile,
    Remembered,
    Removals,
    RowAccount,
    Status,
    UsageLine,
)
from app.commit.batch_ids import DeduplicationWindow
from app.commit.pipeline import Pipeline
from app.commit.store import AcceptedRows
from app.journal.journal import Journal
from app.parquet.data_file import DataFile
from app.publish.manifest import Manifest
from app.publish.set_aside import Trouble
from app.publish.writer import Writer


class Parts(msgspec.Struct, frozen=True):
    """The parts that exist once the service has recovered."""

    journal: Journal
    manifest: Manifest
    writer: Writer
    pipeline: Pipeline[Any, Any]
    window: DeduplicationWindow
    accepted: AcceptedRows


def status_of(parts: Parts, catalog: object, usage: list[UsageLine] | None) -> Status:
    """catalog: from `Catalog.status`. usage: of today."""
    with parts.accepted.lock:
        accepted = dict(parts.accepted.rows)
        written = parts.writer.account()
    return Status(
        rows=[
            RowAccount(
                workspace_id=workspace_id,
                kind=kind,
                accepted=accepted.get((workspace_id, kind), 0),
                published=line.published,
                buffered=line.buffered,
                quarantined=line.quarantined,
                removed=line.removed,
            )
            for (workspace_id, kind), line in sorted(written.items())
        ],
        journal=JournalLevel(
            bytes=parts.journal.size_bytes,
            first_lsn=parts.journal.first_lsn,
            last_lsn=parts.journal.last_lsn,
        ),
        buffer=BufferLevel(
            rows=parts.writer.buffered_rows,
            bytes=parts.writer.buffered_bytes,
            open_partitions=parts.writer.open_partitions,
            oldest_row_age_s=parts.writer.oldest_age_s,
        ),
        deduplication=Remembered(batches=len(parts.window), messages=len(parts.window.messages)),
        files=len(parts.manifest.files()),
        retention=Removals(
            removed_files=parts.manifest.files_removed, to_be_deleted=len(parts.manifest.leaving())
        ),
        catalog=None if catalog is None else CatalogState.model_validate(catalog),
        last_flush_ms=parts.writer.last_flush_ms,
        problem=parts.writer.problem,
        failing_partitions=[_failing(each) for each in parts.writer.troubles()],
        lost_files=[_lost(file) for file in parts.manifest.lost()],
        usage=usage,
    )


def _failing(trouble: Trouble) -> FailingPartition:
    partition = trouble.partition
    return FailingPartition(
        workspace_id=partition.workspace_id,
        date=partition.first_day,
        hour=partition.hour,
        kind=partition.kind,
        error=trouble.error,
        next_try_after_ms=trouble.pause_ms,
    )


def _lost(file: DataFile) -> LostFile:
    return LostFile(
        path=file.path,
        state=file.state,
        lost_rows=file.lost_rows,
        first_lsn=file.last_lsn + 1,
        last_lsn=file.lost_through,
    )
