"""SQL queries, answered by DuckDB over a snapshot: `parquet-sink query`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from app.kinds import Kind
from app.parquet.promotion import Promotion
from app.query.forms import encode
from app.query.snapshot import CannotAsk, Snapshot
from app.query.sources import files_by_name, register_files
from app.query.views import DATE_COLUMN, MACROS, RowSource, view, with_date, within

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

TABLE_ROWS_MAX: Final = 100


class QueryFailed(Exception):
    """The query is wrong, or cannot be answered. The message is DuckDB's."""


def connect(
    snapshot: Snapshot,
    *,
    payload_is_json: bool,
    promoted: Mapping[Kind, Sequence[Promotion]],
    store: Any = None,
) -> "DuckDBPyConnection":
    """A connection with the views events, logs and snapshots. Raises CannotAsk without DuckDB.

    store: the store of the snapshot's files, in the form of app.query.data_sets; None for a directory.
    """
    try:
        import duckdb
    except ImportError:
        raise CannotAsk("DuckDB is not installed: run pip install 'parquet-sink[query]'") from None
    connection = duckdb.connect()
    connection.execute(MACROS)
    for kind in Kind:
        tail = f"tail_{kind.value}"
        connection.register(tail, snapshot.tail[kind])
        files, more, date = snapshot.files[kind], promoted.get(kind, ()), {}
        names = [each.name for each in more] if files else []
        tail = within(tail, snapshot.selection.since, snapshot.selection.until)
        sources = [RowSource(tail)]
        if store is None:
            sources += files_by_name(snapshot, kind)
        elif files:
            sources, date = [RowSource(with_date(tail))], {"date": DATE_COLUMN}
            sources += register_files(connection, kind, snapshot, more, store)
        connection.execute(view(kind, sources, payload_is_json=payload_is_json, promoted=names, **date))
    return connection


def answer(connection: "DuckDBPyConnection", sql: str, form: str, output: Path | None) -> None:
    """Writes the answer to a file or to standard output. Raises QueryFailed, CannotAsk."""
    import duckdb

    try:
        relation = connection.sql(sql)
        if relation is not None:
            _write(relation, form, output)
    except duckdb.Error as error:
        raise QueryFailed(str(error)) from None


def _write(relation: "DuckDBPyRelation", form: str, output: Path | None) -> None:
    if form in ("parquet", "arrow") and output is None:
        raise CannotAsk(f"{form} is not text: name a file with --output")
    if form == "parquet":
        relation.write_parquet(str(output))
        return
    if form == "table":
        parts = [f"{relation.limit(TABLE_ROWS_MAX)}\n".encode()]
    else:
        parts = encode(relation, form).parts
    if output is None:
        sys.stdout.flush()
        sys.stdout.buffer.writelines(parts)
        sys.stdout.buffer.flush()
    else:
        with output.open("wb") as file:
            file.writelines(parts)
