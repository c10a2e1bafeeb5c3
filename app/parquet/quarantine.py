"""Rows that cannot be encoded: found one by one, and kept whole."""

from typing import Final

import pyarrow as pa

from app.kinds import Kind
from app.parquet.layout import Layout
from app.parquet.row_group import MAGIC, encode_row_group

TRIALS_MAX: Final = 4096
"""The number of encodings used to separate good rows from bad ones; what is undecided then is quarantined as
a whole."""

ERROR_KEY: Final = b"parquet_sink.error"


def divide_bad_rows(
    rows: pa.Table, kind: Kind, layout: Layout, error: Exception
) -> tuple[pa.Table, list[tuple[str, pa.Table]]]:
    """Good rows, and bad ones by error message, of rows whose encoding together failed with `error`.

    Raises what encoding no row at all raises: then no row is to blame.
    """
    encode_row_group(rows.slice(0, 0), kind, layout, len(MAGIC))
    good: list[pa.Table] = []
    bad: dict[str, list[pa.Table]] = {}
    trials = 0
    undecided = [rows]
    while undecided:
        some = undecided.pop()
        failure = _failure(some, kind, layout) if some is not rows else error
        trials += 1
        if failure is None:
            good.append(some)
        elif some.num_rows <= 1 or trials >= TRIALS_MAX:
            bad.setdefault(str(failure), []).append(some)
        else:
            half = some.num_rows // 2
            undecided += [some.slice(half), some.slice(0, half)]
    kept = pa.concat_tables(good) if good else rows.slice(0, 0)
    return kept, [(message, pa.concat_tables(parts)) for message, parts in bad.items()]


def _failure(rows: pa.Table, kind: Kind, layout: Layout) -> Exception | None:
    try:
        encode_row_group(rows, kind, layout, len(MAGIC))
    except pa.ArrowException as error:
        if isinstance(error, MemoryError | OSError):
            raise
        failure: Exception = error
        return failure
    return None


def as_arrow_file(rows: pa.Table, error: str) -> bytes:
    """An Arrow IPC file of these rows; the error stands in the metadata of its schema."""
    table = rows.replace_schema_metadata({ERROR_KEY: error})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
