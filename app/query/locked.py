"""DuckDB for a question that a stranger asks: it sees these rows, and can reach nothing else.

The rows come in as Arrow data sets that this process has opened; DuckDB is never told of a path, and may open
none: no file, no network, no extension, no setting, no second database. So what a question can see does not
depend on its SQL. That it is one statement that reads is checked as well, for a better message.
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
"""Names of DuckDB's kinds of statements; PIVOT is one of several parts."""


class NotAQuestion(Exception):
    """The text is no single statement that reads. The message says what to do."""


def connect_locked(
    snapshot: Snapshot,
    policy: QueryPolicy,
    *,
    payload_is_json: bool,
    promoted: Mapping[Kind, Sequence[Promotion]],
    store: Any = None,
) -> "DuckDBPyConnection":
    """A connection with the views events, logs and snapshots, that lets nobody out of it.

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
        raise NotAQuestion(f"Send one statement; these are {len(statements)}.")
    if statements[0].type.name not in READING:
        raise NotAQuestion("Only a SELECT is answered here (or FROM, WITH, DESCRIBE, SHOW, PIVOT, EXPLAIN).")
    return connection.sql(sql)
