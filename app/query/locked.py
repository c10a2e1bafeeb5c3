"""DuckDB for untrusted queries: it sees these rows, and can reach nothing else.

The rows come in as Arrow data sets that this process has opened; DuckDB is never given a path, and may not
open any: no files, no network, no extensions, no settings, no other databases. So what a query can see does
not depend on its SQL. That it is a single reading statement is checked as well, only for a better message.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from app.kinds import Kind
from app.parquet.promotion import Promotion
from app.query.policy import QueryPolicy
from app.query.snapshot import Snapshot
from app.query.sources import register_files
from app.query.views import DATE_COLUMN, MACROS, RowSource, view, with_date, within

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

READING: Final = frozenset({"SELECT", "EXPLAIN", "MULTI"})
"""DuckDB's names of allowed statement types; PIVOT is one that consists of several parts."""


class NotAQuestion(Exception):
    """The text is not a single reading statement. The message says what to do."""


def connect_locked(
    snapshot: Snapshot,
    policy: QueryPolicy,
    *,
    payload_is_json: bool,
    promoted: Mapping[Kind, Sequence[Promotion]],
    store: Any = None,
) -> "DuckDBPyConnection":
    """A confined connection with the views events, logs and snapshots.

    store: where the files of the snapshot are, as app.query.data_sets has it.
    """
    import duckdb

    connection = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": "false",
            "allow_unsigned_extensions": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
            "temp_directory": "",
            "memory_limit": f"{policy.memory_bytes}B",
            "threads": str(policy.threads),
        },
    )
    connection.execute(MACROS)
    for kind in Kind:
        tail, names = f"tail_{kind.value}", [each.name for each in promoted[kind]]
        connection.register(tail, snapshot.tail[kind])
        sources = [RowSource(with_date(within(tail, snapshot.selection.since, snapshot.selection.until)))]
        sources += register_files(connection, kind, snapshot, promoted[kind], store)
        names = names if snapshot.files[kind] else []
        connection.execute(
            view(kind, sources, payload_is_json=payload_is_json, promoted=names, date=DATE_COLUMN)
        )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET lock_configuration = true")
    return connection


def ask_locked(connection: "DuckDBPyConnection", sql: str) -> "DuckDBPyRelation":
    """Raises NotAQuestion; what DuckDB raises."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise NotAQuestion(f"Send a single statement, not {len(statements)}.")
    if statements[0].type.name not in READING:
        raise NotAQuestion(
            "Only SELECT statements are allowed here (or FROM, WITH, DESCRIBE, SHOW, PIVOT, EXPLAIN)."
        )
    return connection.sql(sql)
