"""Questions in SQL, answered by DuckDB over a snapshot: `parquet-sink query`."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from app.kinds import Kind
from app.query.snapshot import CannotAsk, Snapshot
from app.query.views import MACROS, read_parquet, view

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

TABLE_ROWS_MAX: Final = 100


class QueryFailed(Exception):
    """The question is wrong, or cannot be answered. The message is DuckDB's."""


def connect(
    snapshot: Snapshot, *, payload_is_json: bool, promoted: Mapping[Kind, Sequence[str]]
) -> "DuckDBPyConnection":
    """A connection with the views events, logs and snapshots. Raises CannotAsk without DuckDB."""
    try:
        import duckdb
    except ImportError:
        raise CannotAsk("DuckDB is not installed: pip install 'parquet-sink[query]'") from None
    connection = duckdb.connect()
    connection.execute(MACROS)
    for kind in Kind:
        tail = f"tail_{kind.value}"
        connection.register(tail, snapshot.tail[kind])
        sources = [tail, *([read_parquet(snapshot.files[kind])] if snapshot.files[kind] else [])]
        names = promoted.get(kind, ()) if snapshot.files[kind] else ()
        connection.execute(view(kind, sources, payload_is_json=payload_is_json, promoted=names))
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
        raise CannotAsk(f"{form} is no text for a terminal: name a file with --output")
    if form == "parquet":
        relation.write_parquet(str(output))
    elif form == "arrow":
        import pyarrow as pa

        table = relation.to_arrow_table()
        with pa.OSFile(str(output), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    else:
        text = _text(relation, form)
        if output is None:
            sys.stdout.write(text)
        else:
            output.write_text(text, "utf-8")


def _text(relation: "DuckDBPyRelation", form: str) -> str:
    if form == "table":
        return f"{relation.limit(TABLE_ROWS_MAX)}\n"
    names = relation.columns
    rows: list[tuple[Any, ...]] = relation.fetchall()
    if form == "csv":
        import csv
        import io

        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
        return out.getvalue()
    objects = [dict(zip(names, row, strict=True)) for row in rows]
    if form == "json":
        return json.dumps(objects, default=str, ensure_ascii=False, indent=2) + "\n"
    return "".join(json.dumps(each, default=str, ensure_ascii=False) + "\n" for each in objects)
