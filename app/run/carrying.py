"""The journal's part in carrying rows over: frames that record where their rows come from."""

import logging
from collections.abc import Sequence

import pyarrow as pa

from app.commit.payload import RowsFrameCodec, RowsHeader
from app.journal.failures import JournalFull
from app.journal.journal import Journal
from app.parquet.partition import Origin
from app.publish.carried import Carried
from app.publish.carrying import Append
from app.publish.manifest import Manifest, Publication

log = logging.getLogger(__name__)


def appending_to(journal: Journal) -> Append:
    """Raises JournalFailed."""
    codec = RowsFrameCodec()

    def append(origin: Origin, batches: Sequence[pa.RecordBatch]) -> tuple[int, int] | None:
        header = RowsHeader(origin.kind, origin=origin)
        try:
            done = journal.append([codec.encode(header, rows) for rows in batches])
        except JournalFull:
            return None
        return done.first_lsn, done.last_lsn

    return append


def recall_carried(journal: Journal, manifest: Manifest) -> None:
    """Restores records of the manifest that were lost when it was damaged, or replaced by an older one.

    Frames are trimmed only once the new position of their rows is recorded. So if rows are not in files and
    their first frame is gone, the frames that they were carried over to are valid. Raises OSError,
    SyncFailed; JournalDamaged.
    """
    codec = RowsFrameCodec()
    found: dict[Origin, Carried] = {}
    for entry in journal.read(0):
        origin = codec.origin(entry.payload)
        if origin is None or manifest.counts(entry.lsn) or origin.first_lsn >= journal.first_lsn:
            continue
        if not manifest.is_published(origin.partition, origin.first_lsn):
            first = found[origin].first_lsn if origin in found else entry.lsn
            found[origin] = Carried(origin=origin, first_lsn=first, last_lsn=entry.lsn)
    if found:
        log.error(
            "the manifest had lost the new positions of %d sets of rows that were carried over", len(found)
        )
        manifest.append(Publication(id=manifest.last_commit + 1, carried=list(found.values())))
