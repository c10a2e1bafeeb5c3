"""The rows of one partition of files as one finished Parquet file in memory."""

from collections.abc import Callable

import msgspec
import pyarrow as pa

from app.kafka.entry import ForeignRecord
from app.parquet.data_file import DataFile, QuarantinedRows
from app.parquet.draft import Draft
from app.parquet.encode import rfc3339
from app.parquet.filling import Filler, data_file, quarantined
from app.parquet.layout import Arranger
from app.parquet.location import relative_path
from app.publish.buffer import PartitionRows
from app.publish.observer import WriterObserver
from app.publish.rotation import WriterPolicy


class Encoded(msgspec.Struct):
    """placements: paths and bytes. files, quarantined, foreign: what the log says of them."""

    placements: list[tuple[str, bytes]] = []
    files: list[DataFile] = []
    quarantined: list[QuarantinedRows] = []
    foreign: list[ForeignRecord] = []


class Encoder:
    """Names of files say which Kafka partition and entry their rows are of. One instance a thread."""

    def __init__(
        self,
        partition: int,
        log_directory: str,
        policy: WriterPolicy,
        clock: Callable[[], int],
        observer: WriterObserver,
    ) -> None:
        self._node = f"k{partition}"
        self._log_directory = log_directory
        # A range of records is one file a partition, so that its name says which rows it holds.
        self._policy = msgspec.structs.replace(policy, max_file_bytes=1 << 60, row_groups_max=1 << 30)
        self._filler = Filler(self._policy)
        self._clock = clock
        self._observer = observer
        self._arranger = Arranger(policy.layout)

    def encode(self, into: Encoded, buffered: PartitionRows, number: int) -> None:
        """Rows that cannot be encoded go to a quarantine file beside the log."""
        kind = buffered.partition.kind
        rows, unfit = self._arranger.arrange(buffered.table(), kind)
        begun = len(into.placements)

        def undo() -> None:
            del into.placements[begun:], into.files[files:]

        files = len(into.files)
        self._filler.encode_or_divide(
            rows,
            kind,
            lambda some: self._encode_rows(into, buffered, some, number),
            undo,
            lambda some, error: self._quarantine(into, buffered, some, error, number),
        )
        for column, values in unfit.items():
            self._observer.values_unfit(kind, column, values)

    def keep(self, into: Encoded, offset: int, value: bytes, error: str) -> None:
        """A record that is not this service's goes beside the log as it is."""
        path = f"{self._log_directory}/quarantine/offset-{offset:020}.record"
        into.placements.append((path, value))
        into.foreign.append(ForeignRecord(path, offset, len(value), error))

    def _encode_rows(self, into: Encoded, buffered: PartitionRows, rows: pa.Table, number: int) -> None:
        if not rows.num_rows:
            return
        partition = buffered.partition
        path = relative_path(partition, number, self._node)
        draft = self._draft(buffered, rows)
        content = b"".join(draft.chunks())
        into.placements.append((path, content))
        into.files.append(
            data_file(
                partition,
                path,
                number,
                draft,
                size=len(content),
                policy=self._policy,
                now=rfc3339(self._clock()),
                sealed=True,
                first_lsn=buffered.first_lsn,
                last_lsn=buffered.last_lsn,
            )
        )

    def _draft(self, buffered: PartitionRows, rows: pa.Table) -> Draft:
        kind = buffered.partition.kind
        facts = {
            "writer": self._policy.writer_version,
            "kind": kind.value,
            "first_lsn": str(buffered.first_lsn),
            "last_lsn": str(buffered.last_lsn),
        }
        draft = Draft(self._policy.layout.schema(kind), facts)
        self._filler.fill(draft, rows, kind)
        return draft

    def _quarantine(
        self, into: Encoded, buffered: PartitionRows, rows: pa.Table, error: str, number: int
    ) -> None:
        facts, content = quarantined(
            buffered.partition,
            f"{self._log_directory}/quarantine/",
            f"{number:020}",
            len(into.quarantined),
            rows,
            error,
            buffered.last_lsn,
        )
        into.placements.append((facts.path, content))
        into.quarantined.append(facts)
        self._observer.rows_quarantined(facts.kind, facts.rows)
