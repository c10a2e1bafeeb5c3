"""The rows of one partition of files as one finished Parquet file in memory."""

from collections.abc import Callable

import msgspec
import pyarrow as pa

from app.kafka.entry import ForeignRecord
from app.parquet.data_file import DataFile, QuarantinedRows
from app.parquet.draft import Draft
from app.parquet.encode import rfc3339
from app.parquet.file_policy import rows_that_fit
from app.parquet.layout import Arranger, as_decoded
from app.parquet.location import relative_path
from app.parquet.quarantine import as_arrow_file, divide_bad_rows
from app.parquet.row_group import encode_row_group
from app.publish.buffer import PartitionRows
from app.publish.observer import Observer
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
        observer: Observer,
    ) -> None:
        self._node = f"k{partition}"
        self._log_directory = log_directory
        # A range of records is one file a partition, so that its name says which rows it holds.
        self._policy = msgspec.structs.replace(policy, max_file_bytes=1 << 60)
        self._clock = clock
        self._observer = observer
        self._arranger = Arranger(policy.layout)

    def encode(self, into: Encoded, buffered: PartitionRows, number: int) -> None:
        """Rows that cannot be encoded go to a quarantine file beside the log."""
        kind = buffered.partition.kind
        rows, unfit = self._arranger.arrange(buffered.table(), kind)
        try:
            self._encode_rows(into, buffered, rows, number)
        except pa.ArrowException as error:
            if isinstance(error, MemoryError):
                raise
            good, bad = divide_bad_rows(rows, kind, self._policy.layout, error)
            for message, some in bad:
                self._quarantine(into, buffered, some, message, number)
            self._encode_rows(into, buffered, good, number)
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
        now = rfc3339(self._clock())
        into.placements.append((path, content))
        into.files.append(
            DataFile(
                path=path,
                workspace_id=partition.workspace_id,
                date=partition.date,
                hour=partition.hour,
                kind=partition.kind,
                number=number,
                rows=draft.rows,
                bytes=len(content),
                min_timestamp=draft.min_timestamp,
                max_timestamp=draft.max_timestamp,
                compression=self._policy.layout.codec,
                created_at=now,
                updated_at=now,
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
        taken = 0
        ratio = 1.0
        while taken < rows.num_rows:
            rest = rows.slice(taken)
            row_bytes = rest.nbytes / rest.num_rows * ratio
            count = max(rows_that_fit(rest.num_rows, row_bytes, draft.size, self._policy), 1)
            some = rest.slice(0, count)
            group = encode_row_group(some, kind, self._policy.layout, draft.offset)
            draft.size_with(group)
            draft.add(group, some)
            ratio = group.size / max(some.nbytes, 1)
            taken += count
        return draft

    def _quarantine(
        self, into: Encoded, buffered: PartitionRows, rows: pa.Table, error: str, number: int
    ) -> None:
        partition = buffered.partition
        hour = "" if partition.hour is None else f"T{partition.hour:02}"
        path = (
            f"{self._log_directory}/quarantine/{number:020}-{partition.workspace_id}-{partition.date}{hour}-"
            f"{partition.kind.value}-{len(into.quarantined)}.arrow"
        )
        into.placements.append((path, bytes(as_arrow_file(as_decoded(rows, partition.kind), error))))
        into.quarantined.append(
            QuarantinedRows(
                path=path,
                workspace_id=partition.workspace_id,
                date=partition.date,
                hour=partition.hour,
                kind=partition.kind,
                rows=rows.num_rows,
                error=error,
                last_lsn=buffered.last_lsn,
            )
        )
        self._observer.rows_quarantined(partition.kind, rows.num_rows)
