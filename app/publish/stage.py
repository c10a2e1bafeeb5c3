"""Writes the rows of one partition to staged files, which are complete but neither synced nor in place
yet."""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.data_file import DataFile, FileState, LsnRange, QuarantinedRows
from app.parquet.draft import Draft
from app.parquet.encode import rfc3339
from app.parquet.facts import recovered_in_words
from app.parquet.file_policy import is_full
from app.parquet.filling import Filler, data_file, quarantined
from app.parquet.layout import Arranger
from app.parquet.location import relative_path
from app.parquet.partition import Partition
from app.parquet.row_group import empty_metadata
from app.publish.buffer import PartitionRows
from app.publish.destination import Destination
from app.publish.lost_rows import loss_in_words, record_of_changed, record_of_gone
from app.publish.manifest import Manifest
from app.publish.recovered import joined
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
    """commit: the commit that this flush will be part of. first_lsn, last_lsn: frames the rows came with,
    but for those of `recovered`, which another file has lost."""

    commit: int
    first_lsn: int
    last_lsn: int
    recovered: tuple[LsnRange, ...] = ()


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

    def stage(self, waiting: PartitionRows, commit: int) -> StagedFlush:
        """Write all rows to staged files, which `Staging.sync` makes durable. commit: the one that publishes
        them.

        Rows that cannot be encoded go to a quarantine file. Raises OSError, and then nothing is left behind;
        SyncFailed.
        """
        partition = waiting.partition
        flush = StagedFlush(partition)
        span = self._span(waiting, commit)
        rows, unfit = self._arranger.arrange(waiting.table(), partition.kind)

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
        if waiting.recovered.rows:
            lost = [file for file in self._manifest.lost() if file.partition == partition]
            flush.files += waiting.recovered.settled(lost)
        return flush

    def _span(self, waiting: PartitionRows, commit: int) -> Span:
        """Rows that were never in a file came after all that were."""
        first_lsn = waiting.first_lsn
        if waiting.recovered.rows:
            through = self._manifest.published_through(waiting.partition)
            first_lsn = max(first_lsn, through + 1) if waiting.last_lsn > through else first_lsn
        return Span(commit, first_lsn, waiting.last_lsn, waiting.recovered.ranges())

    def discard(self, flush: StagedFlush) -> None:
        """Remove the staged files of a flush that will not be published (yet)."""
        self._staging.discard(flush.placements)

    def _stage_rows(self, flush: StagedFlush, rows: pa.Table, span: Span) -> None:
        if rows.num_rows == 0:
            return
        latest = self._manifest.latest(flush.partition)
        draft, found = self._first_draft(flush.partition, latest, span)
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
        if found is not None and not found.sealed and flush.files[0].number != found.number:
            flush.files.insert(0, msgspec.structs.replace(found, sealed=True))
        elif found is not None and found is not latest:
            flush.files.insert(0, found)
        # The last file is placed first: when the first has its name, the flush is there whole.
        flush.placements.reverse()

    def _first_draft(
        self, partition: Partition, latest: DataFile | None, span: Span
    ) -> tuple[Draft, DataFile | None]:
        """The next version of the latest file where that may still grow, else a new file; and the latest one
        as it was found."""
        found = latest
        old: DataFile | None = None
        metadata = None
        directory = self._destination.grows_in
        if directory is None or latest is None or latest.sealed:
            return self._draft(partition, span), latest
        # A folder that cannot be looked into says nothing of its files: that is an error of the partition.
        size = self._size(directory / latest.path)
        if size is None:
            # What was removed cannot grow, and must not keep new rows from their file.
            found = record_of_gone(latest)
            log.error("%s", loss_in_words(found))
        elif size != latest.bytes:
            found = record_of_changed(latest, size, self._destination.facts(latest.path))
            log.error("%s", loss_in_words(found))
        else:
            try:
                metadata = self._metadata_to_extend(directory, latest)
                old = latest if metadata is not None else None
            except (OSError, pa.ArrowException) as error:
                found = msgspec.structs.replace(latest, sealed=True, state=FileState.CHANGED)
                log.error(
                    "%s is left as it is, and its partition continues in a new file: %s", latest.path, error
                )
        return self._draft(partition, span, old, metadata), found

    def _size(self, path: Path) -> int | None:
        """None where there is no such file. Raises OSError where that cannot be told."""
        try:
            return self._fs.stat(path).size
        except FileNotFoundError:
            return None

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
            "last_lsn": str(max(old.last_lsn, span.last_lsn) if old else span.last_lsn),
            **recovered_in_words(joined(old.recovered if old else (), span.recovered)),
        }
        return Draft(self._policy.layout.schema(partition.kind), facts, old, metadata)

    def _metadata_to_extend(self, directory: Path, latest: DataFile) -> pq.FileMetaData | None:
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
                recovered=joined(old.recovered if old else (), span.recovered),
            )
        )

    def _stage_quarantine(self, flush: StagedFlush, rows: pa.Table, error: str, span: Span) -> None:
        facts, content = quarantined(
            flush.partition, "", f"{span.commit:012}", len(flush.quarantined), rows, error, span.last_lsn
        )
        flush.placements.append(self._staging.write("quarantine", facts.path, [content]))
        flush.quarantined.append(facts)
