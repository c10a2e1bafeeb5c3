"""Every query of the documents, run as it stands there, gives what was sent."""

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from tests.engines.answers import ANSWERS, Rows
from tests.engines.documented_queries import documented_queries
from tests.support.service import REPOSITORY

QUERIES = documented_queries()
LIGHT = [name for name in QUERIES if not name.startswith("spark-")]
HEAVY = [name for name in QUERIES if name.startswith("spark-")]


def run_duckdb(text: str) -> Rows:
    with duckdb.connect() as connection:
        return connection.execute(text).fetchall()


def run_clickhouse(text: str) -> Rows:
    from chdb import query

    answer = query(text, "JSONCompact")
    return [tuple(row) for row in json.loads(str(answer))["data"]]


def run_python(text: str) -> Rows:
    names: dict[str, Any] = {}
    exec(compile(text, "docs/queries.md", "exec"), names)
    result = names["result"]
    if isinstance(result, pa.Table):
        return [tuple(row.values()) for row in result.to_pylist()]
    assert isinstance(result, pl.DataFrame)
    return result.rows()


RUNNERS: dict[str, Callable[[str], Rows]] = {
    "duckdb": run_duckdb,
    "clickhouse": run_clickhouse,
    "pyarrow": run_python,
    "polars": run_python,
}


def plain(value: object) -> object:
    """A value without its engine's type: numbers are compared as numbers, dates as text."""
    if isinstance(value, Decimal | float):
        return round(float(value), 2)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str) and value.isdigit():
        return int(value)  # ClickHouse writes 64-bit numbers of JSON as text
    return value


def as_plain(rows: Rows) -> list[list[object]]:
    return [[plain(value) for value in row] for row in rows]


def test_every_documented_query_has_an_answer_and_every_engine_a_query() -> None:
    assert set(QUERIES) == set(ANSWERS)


@pytest.mark.parametrize("name", LIGHT)
def test_the_query_as_documented_gives_what_was_sent(in_warehouse: Path, name: str) -> None:
    expected = as_plain(ANSWERS[name]())
    assert expected, "an empty answer would prove nothing"

    assert as_plain(RUNNERS[name.partition("-")[0]](QUERIES[name])) == expected


SHOW_RESULT = """
import json
print("RESULT", json.dumps([[str(value) for value in row] for row in result.collect()]))
"""


@pytest.mark.heavy
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", HEAVY)
def test_the_spark_program_as_documented_gives_what_was_sent(in_warehouse: Path, name: str) -> None:
    done = subprocess.run(
        [spark_python(), "-c", QUERIES[name] + SHOW_RESULT],
        cwd=in_warehouse,
        env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-4000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    rows = json.loads(line.removeprefix("RESULT "))
    expected = as_plain(ANSWERS[name]())
    assert [[row[0], float(row[1])] for row in rows] == [[row[0], float(str(row[1]))] for row in expected]


def spark_python() -> str:
    """This interpreter where it has pyspark, else the one that HEAVY_PYTHON names."""
    if find_spec("pyspark"):
        return sys.executable
    named = os.environ.get("HEAVY_PYTHON") or str(REPOSITORY / ".venv-heavy" / "bin" / "python")
    assert Path(named).exists(), "install requirements-heavy.lock, or name an interpreter in HEAVY_PYTHON"
    return named
