"""Fills drafts of files with rows: decides how many make a row group, and quarantines rows that cannot be
encoded."""

from collections.abc import Callable

import pyarrow as pa

from app.kinds import Kind
from app.parquet.data_file import DataFile, LsnRange, QuarantinedRows
from app.parquet.draft import Draft
from app.parquet.encode import SHRINK, TELLING_BYTES
from app.parquet.file_policy import FilePolicy, is_full, rows_that_fit
from app.parquet.layout import as_decoded
from app.parquet.partition import Partition
from app.parquet.quarantine import as_arrow_file, divide_bad_rows
from app.parquet.row_group import RowGroup, encode_row_group


class Filler:
    """Learns how well rows of each kind compress. For one thread."""

    def __init__(self, policy: FilePolicy) -> None:
        self._policy = policy
        self._ratios = dict.fromkeys(Kind, 1.0)

    def fill(self, draft: Draft, rows: pa.Table, kind: Kind) -> int:
        """Encode row groups into the draft until the rows end or the file is full; return the rows taken."""
        policy = self._policy
        taken = 0
        limit = rows.num_rows
        while taken < rows.num_rows:
            rest = rows.slice(taken)
            row_bytes = rest.nbytes / rest.num_rows * self._ratios[kind]
            begun = draft.offset if draft.has_rows else 0
            if begun and is_full(begun, draft.row_groups, policy):
                break
            count = min(rows_that_fit(rest.num_rows, row_bytes, begun, policy), limit)
            if count == 0:
                break
            some = rest.slice(0, count)
            group = encode_row_group(some, kind, policy.layout, draft.offset)
            self._learn(kind, group, some)
            alone = count == 1 and not draft.has_rows
            if draft.size_with(group) > policy.max_file_bytes and not alone:
                limit = int(count * SHRINK)
                continue
            draft.add(group, some)
            taken += count
            limit = rows.num_rows
        return taken

    def _learn(self, kind: Kind, group: RowGroup, rows: pa.Table) -> None:
        """Small row groups are mostly overhead, and tell nothing about large ones."""
        if rows.nbytes >= TELLING_BYTES:
            self._ratios[kind] = group.size / rows.nbytes

    def encode_or_divide(
        self,
        rows: pa.Table,
        kind: Kind,
        encode: Callable[[pa.Table], None],
        undo: Callable[[], None],
        set_aside: Callable[[pa.Table, str], None],
    ) -> None:
        """`encode` the rows; where that fails, those that can be, after the others were set aside.

        undo: takes back what `encode` has done before it failed. set_aside: takes rows and their error.
        """
        try:
            encode(rows)
        except pa.ArrowException as error:
            if isinstance(error, MemoryError | OSError):
                raise
            undo()
            good, bad = divide_bad_rows(rows, kind, self._policy.layout, error)
            for message, some in bad:
                set_aside(some, message)
            encode(good)


def data_file(
    partition: Partition,
    path: str,
    number: int,
    draft: Draft,
    *,
    size: int,
    policy: FilePolicy,
    now: str,
    sealed: bool,
    first_lsn: int,
    last_lsn: int,
    commit: int | None = None,
    recovered: tuple[LsnRange, ...] = (),
) -> DataFile:
    """What is to be remembered of the file that a draft becomes. size: its length. now: RFC 3339, UTC.

    first_lsn, last_lsn: of its new rows, which may be older than those it has. recovered: of all its rows.
    """
    old = draft.old
    return DataFile(
        path=path,
        workspace_id=partition.workspace_id,
        date=partition.date,
        hour=partition.hour,
        kind=partition.kind,
        number=number,
        rows=draft.total_rows,
        bytes=size,
        min_timestamp=draft.min_timestamp,
        max_timestamp=draft.max_timestamp,
        compression=policy.layout.codec,
        created_at=old.created_at if old else now,
        updated_at=now,
        sealed=sealed,
        first_lsn=old.first_lsn if old else first_lsn,
        last_lsn=max(old.last_lsn, last_lsn) if old else last_lsn,
        commit=commit,
        row_groups=draft.row_groups,
        recovered=recovered,
    )


def quarantined(
    partition: Partition, folder: str, number: str, place: int, rows: pa.Table, error: str, last_lsn: int
) -> tuple[QuarantinedRows, bytes]:
    """Rows that no file can hold, as a file of their own.

    folder: what its path begins with. number: of the commit or entry. place: of the file among those of it.
    """
    hour = "" if partition.hour is None else f"T{partition.hour:02}"
    name = f"{number}-{partition.workspace_id}-{partition.date}{hour}-{partition.kind.value}-{place}.arrow"
    facts = QuarantinedRows(
        path=folder + name,
        workspace_id=partition.workspace_id,
        date=partition.date,
        hour=partition.hour,
        kind=partition.kind,
        rows=rows.num_rows,
        error=error,
        last_lsn=last_lsn,
    )
    return facts, as_arrow_file(as_decoded(rows, partition.kind), error)
