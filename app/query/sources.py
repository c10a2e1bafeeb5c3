"""The files of a snapshot as sources for the views.

A file of one day of receipt contains only selected rows. A file of several days (a month's) also contains
others, so its rows are filtered by their own time of receipt.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from app.kinds import Kind
from app.parquet.promotion import Promotion
from app.query.alike import alike
from app.query.data_sets import data_set
from app.query.snapshot import CannotAsk, Snapshot, SnapshotFile
from app.query.views import RowSource, read_parquet, with_date, within

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def files_by_name(snapshot: Snapshot, kind: Kind) -> list[RowSource]:
    """Files in a directory, for DuckDB to open. Raises CannotAsk, OSError."""
    of_one_day, of_more = _divided(snapshot.files[kind])
    selection = snapshot.selection
    try:
        found = [RowSource(read_parquet(some.names), some.columns) for some in alike(_names(of_one_day))]
        for some in alike(_names(of_more)):
            rows = within(read_parquet(some.names), selection.since, selection.until)
            found.append(RowSource(rows, some.columns))
    except pa.ArrowException as error:
        raise CannotAsk(f"a file of {kind.value} cannot be read: {error}") from None
    return found


def register_files(
    connection: "DuckDBPyConnection",
    kind: Kind,
    snapshot: Snapshot,
    promotions: Sequence[Promotion],
    store: Any = None,
) -> list[RowSource]:
    """Files as data sets that are passed to DuckDB; all with DATE_COLUMN. store: as in data_set."""
    selection, names = snapshot.selection, [each.name for each in promotions]
    found = []
    for name, files in zip(("files", "months"), _divided(snapshot.files[kind]), strict=True):
        if not files:
            continue
        table = f"{name}_{kind.value}"
        connection.register(table, data_set(kind, files, promotions, store))
        if files[0].date is None:
            table = with_date(within(table, selection.since, selection.until))
        found.append(RowSource(table, names))
    return found


def _divided(files: Sequence[SnapshotFile]) -> tuple[list[SnapshotFile], list[SnapshotFile]]:
    """The files of one day of receipt, and the others."""
    return [file for file in files if file.date is not None], [file for file in files if file.date is None]


def _names(files: Sequence[SnapshotFile]) -> list[str]:
    return [file.name for file in files]
