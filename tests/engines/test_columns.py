"""Every engine reads every column of every kind as pyarrow does: 64-bit numbers, 16-byte ids, nulls."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from app.kinds import Kind
from app.schema import SCHEMAS

Row = tuple[object, ...]
BYTES_COLUMNS = ("device_id", "session_id", "source_ip", "payload")


def with_hex(values: Row) -> Row:
    return tuple(value.hex() if isinstance(value, bytes) else value for value in values)


def by_pyarrow(pattern: str, kind: Kind) -> list[Row]:
    tables = [pq.read_table(path, partitioning=None) for path in sorted(Path().glob(pattern))]
    return [with_hex(tuple(row.values())) for table in tables for row in table.to_pylist()]


def by_duckdb(pattern: str, kind: Kind) -> list[Row]:
    with duckdb.connect() as connection:
        return [with_hex(row) for row in connection.execute(f"SELECT * FROM '{pattern}'").fetchall()]


def by_polars(pattern: str, kind: Kind) -> list[Row]:
    return [with_hex(row) for row in pl.scan_parquet(pattern).collect().rows()]


def by_clickhouse(pattern: str, kind: Kind) -> list[Row]:
    from chdb import query

    columns = ", ".join(
        f"lower(hex({name})) AS {name}_hex" if name in BYTES_COLUMNS else name for name in SCHEMAS[kind].names
    )
    settings = "SETTINGS output_format_json_quote_64bit_integers = 0"
    answer = query(f"SELECT {columns} FROM file('{pattern}', Parquet) {settings}", "JSONCompact")
    return [tuple(row) for row in json.loads(str(answer))["data"]]


@pytest.mark.parametrize("read", [by_duckdb, by_polars, by_clickhouse])
@pytest.mark.parametrize("kind", list(Kind))
def test_an_engine_reads_what_pyarrow_reads(
    in_warehouse: Path, kind: Kind, read: Callable[[str, Kind], list[Row]]
) -> None:
    pattern = f"parquet/**/{kind}*.parquet"
    expected = by_pyarrow(pattern, kind)
    assert len({row[2] for row in expected}) == 3, "files of all three workspaces"

    def order(row: Row) -> str:
        return repr(row)

    assert sorted(read(pattern, kind), key=order) == sorted(expected, key=order)
