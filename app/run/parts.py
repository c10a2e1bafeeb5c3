"""The parts of a service with a journal of its own, and what GET /status says of them."""

from typing import Any

import msgspec

from app.commit.batch_ids import DeduplicationWindow
from app.commit.pipeline import Pipeline
from app.commit.store import AcceptedRows
from app.journal.journal import Journal
from app.parquet.data_file import DataFile
from app.publish.manifest import Manifest
from app.publish.set_aside import Trouble
from app.publish.writer import Writer


class Parts(msgspec.Struct, frozen=True):
    """What exists once the service has recovered."""

    journal: Journal
    manifest: Manifest
    writer: Writer
    pipeline: Pipeline[Any, Any]
    window: DeduplicationWindow
    accepted: AcceptedRows


def status_json(parts: Parts, catalog: object) -> dict[str, object]:
    """The account of every accepted row, and the levels."""
    with parts.accepted.lock:
        accepted = dict(parts.accepted.rows)
        written = parts.writer.account()
    rows = [
        {
            "workspace_id": workspace_id,
            "kind": kind.value,
            "accepted": accepted.get((workspace_id, kind), 0),
            "published": line.published,
            "buffered": line.buffered,
            "quarantined": line.quarantined,
            "removed": line.removed,
        }
        for (workspace_id, kind), line in sorted(written.items())
    ]
    return {
        "rows": rows,
        "journal": {
            "bytes": parts.journal.size_bytes,
            "first_lsn": parts.journal.first_lsn,
            "last_lsn": parts.journal.last_lsn,
        },
        "buffer": {
            "rows": parts.writer.buffered_rows,
            "bytes": parts.writer.buffered_bytes,
            "open_partitions": parts.writer.open_partitions,
            "oldest_row_age_s": parts.writer.oldest_age_s,
        },
        "deduplication": {"batches": len(parts.window), "messages": len(parts.window.messages)},
        "files": len(parts.manifest.files()),
        "retention": {
            "removed_files": parts.manifest.files_removed,
            "to_be_deleted": len(parts.manifest.leaving()),
        },
        "catalog": catalog,
        "last_flush_ms": parts.writer.last_flush_ms,
        "problem": parts.writer.problem,
        "failing_partitions": [_trouble_json(each) for each in parts.writer.troubles()],
        "lost_files": [_lost_json(file) for file in parts.manifest.lost()],
    }


def _trouble_json(trouble: Trouble) -> dict[str, object]:
    partition = trouble.partition
    return {
        "workspace_id": partition.workspace_id,
        "date": partition.date,
        "hour": partition.hour,
        "kind": partition.kind.value,
        "error": trouble.error,
        "next_try_after_ms": trouble.pause_ms,
    }


def _lost_json(file: DataFile) -> dict[str, object]:
    return {
        "path": file.path,
        "state": file.state.value,
        "lost_rows": file.lost_rows,
        "first_lsn": file.last_lsn + 1,
        "last_lsn": file.lost_through,
    }
