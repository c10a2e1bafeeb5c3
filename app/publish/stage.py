"""Writes the rows of one partition to staged files, which are complete but neither synced nor in place
yet."""

import logging
from collections.abc import Callable

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.data_file import DataFile, FileState, QuarantinedRows
from app.parquet.draft import Draft
from app.parquet.encode import rfc3339
from app.parquet.file_policy import is_full
from app.parquet.filling import Filler, data_file, quarantined
from app.parquet.layout import Arranger
from app.parquet.location import relative_path
from app.parquet.partition import Partition
from app.parquet.row_group import empty_metadata
from app.publish.destination import Destination
from app.publish.manifest import Manifest
from app.publish.rotation import WriterPolicy
from app.publish.staging_directory import Placement, Staging

log = logging.getLogger(__name__)


class StagedFlush(msgspec.Struct):
    """Everything that was buffered for one partition, as files.

    rows: how many new rows they hold. unfit: by promoted column, how many of their values did not fit.
    """

    partition: Partition
    placements: list[Placement] = []
    files: list[DataFile] = []
    quarantined: list[QuarantinedRows] = []
    rows: int = 0
    unfit: dict[str, int] = {}


class Span(msgspec.Struct, frozen=True):
    """commit: the commit that this flush will be part of. first_lsn, last_lsn: frames the rows came with."""

    commit: int
    first_lsn: int
    last_lsn: int


class _Changed(Exception):
    """A file was changed since it was published."""


class Stager:
    """Builds staged files; used by the writer thread alone."""

    def __init__(
        self,
        fs: DurableFS,
        staging: Staging,
        destination: Destination,
        manifest: Manifest,
        policy: WriterPolicy,
        clock: Callable[[], int],
    ) -> None:
        self._fs = fs
        self._destination = destination
        self._manifest = manifest
        self._policy = policy
        self._clock = clock
        self._staging = staging
        self._filler = Filler(policy)
        self._arranger = Arranger(policy.layout)
        self._schemas = {kind: policy.layout.schema(kind) for kind in Kind}
        self._columns = {kind: empty_metadata(schema, {}).schema for kind, schema in self._schemas.items()}

    def stage(self, partition: Partition, rows: pa.Table, span: Span, recovered: int = 0) -> StagedFlush:
        """Write all rows (columns as SCHEMAS[kind]) to staged files, which `Staging.sync` makes durable.

        recovered: how many of them a file had that is lost. Rows that cannot be encoded go to a quarantine
        file. Raises OSError, and then nothing is left behind; SyncFailed.
        """
        flush = StagedFlush(partition)
        rows, unfit = self._arranger.arrange(rows, partition.kind)

        def undo() -> None:
            nonlocal flush
            self.discard(flush)
            flush = StagedFlush(partition)

        try:
            self._filler.encode_or_divide(
                rows,
                partition.kind,
                lambda some: self._stage_rows(flush, some, span),
                undo,
                lambda some, error: self._stage_quarantine(flush, some, error, span),
            )
        except OSError:
            self.discard(flush)
            raise
        flush.unfit = unfit
        if recovered:
            flush.files += self._manifest.recover_lost(partition, recovered)
        return flush

    def discard(self, flush: StagedFlush) -> None:
        """Remove the staged files of a flush that will not be published (yet)."""
        self._staging.discard(flush.placements)

    def _stage_rows(self, flush: StagedFlush, rows: pa.Table, span: Span) -> None:
        if rows.num_rows == 0:
            return
        latest = self._manifest.latest(flush.partition)
        draft, state = self._first_draft(flush.partition, latest, span)
        number = self._manifest.first_free_number(flush.partition)
        if latest is not None:
            number = latest.number + (draft.old is None)
        start = 0
        while start < rows.num_rows:
            start += self._filler.fill(draft, rows.slice(start), flush.partition.kind)
            if draft.rows:
                number = self._unclaimed(flush.partition, number, draft)
                full = start < rows.num_rows or is_full(draft.size, draft.row_groups, self._policy)
                self._write(flush, draft, number, span, full or self._destination.grows_in is None)
            number += 1
            draft = self._draft(flush.partition, span, flush_offset=start)
        if latest is not None and not latest.sealed and flush.files[0].number != latest.number:
            flush.files.insert(0, msgspec.structs.replace(latest, sealed=True, state=state))
        # The last file is placed first: when the first has its name, the flush is there whole.
        flush.placements.reverse()

    def _first_draft(
        self, partition: Partition, latest: DataFile | None, span: Span
    ) -> tuple[Draft, FileState]:
        """The next version of the latest file where that may still grow, else a new file; and how the latest
        one was found."""
        try:
            metadata = self._metadata_to_extend(latest)
        except FileNotFoundError:
            # What was removed cannot grow, and must not keep new rows from their file.
            return self._draft(partition, span), FileState.REMOVED
        except (OSError, pa.ArrowException, _Changed) as error:
            assert latest is not None
            log.error(
                "%s is left as it is, and its partition continues in a new file: %s", latest.path, error
            )
            return self._draft(partition, span), FileState.CHANGED
        old = latest if metadata is not None else None
        return self._draft(partition, span, old, metadata), FileState.PUBLISHED

    def _draft(
        self,
        partition: Partition,
        span: Span,
        old: DataFile | None = None,
        metadata: pq.FileMetaData | None = None,
        flush_offset: int = 0,
    ) -> Draft:
        facts = {
            "journal": self._policy.journal,
            "flush_offset": str(flush_offset),
            "writer": self._policy.writer_version,
            "kind": partition.kind.value,
            "commit": str(span.commit),
            "first_lsn": str(old.first_lsn if old else span.first_lsn),
            "last_lsn": str(span.last_lsn),
        }
        return Draft(self._policy.layout.schema(partition.kind), facts, old, metadata)

    def _metadata_to_extend(self, latest: DataFile | None) -> pq.FileMetaData | None:
        directory = self._destination.grows_in
        if directory is None or latest is None or latest.sealed:
            return None
        size = self._fs.stat(directory / latest.path).size
        if size != latest.bytes:
            raise _Changed(f"it has {size} bytes instead of {latest.bytes}")
        with self._fs.open_for_read(directory / latest.path) as file:
            metadata = pq.read_metadata(file)
        if is_full(latest.bytes, metadata.num_row_groups, self._policy):
            return None
        return metadata if metadata.schema.equals(self._columns[latest.kind]) else None

    def _unclaimed(self, partition: Partition, number: int, draft: Draft) -> int:
        """The first number from this one on whose name no file has that is not ours."""
        if draft.old is not None:
            return draft.old.number
        while self._destination.is_taken(self._path(partition, number)):
            number += 1
        return number

    def _path(self, partition: Partition, number: int) -> str:
        return relative_path(partition, number, self._policy.node, self._policy.folders)

    def _write(self, flush: StagedFlush, draft: Draft, number: int, span: Span, sealed: bool) -> None:
        partition = flush.partition
        old = draft.old
        path = old.path if old else self._path(partition, number)
        directory = self._destination.grows_in
        grown = directory / path if directory is not None and old else None
        placement = self._staging.write("data", path, draft.chunks(), grown, draft.old_bytes)
        flush.placements.append(placement)
        flush.rows += draft.rows
        flush.files.append(
            data_file(
                partition,
                path,
                number,
                draft,
                size=placement.bytes,
                policy=self._policy,
                now=rfc3339(self._clock()),
                sealed=sealed,
                first_lsn=span.first_lsn,
                last_lsn=span.last_lsn,
                commit=span.commit if self._policy.layout.for_tables else None,
            )
        )

    def _stage_quarantine(self, flush: StagedFlush, rows: pa.Table, error: str, span: Span) -> None:
        facts, content = quarantined(
            flush.partition, "", f"{span.commit:012}", len(flush.quarantined), rows, error, span.last_lsn
        )
        flush.placements.append(self._staging.write("quarantine", facts.path, [content]))
        flush.quarantined.append(facts)
