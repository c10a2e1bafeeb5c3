"""Promoted columns and the JSON annotation, over HTTP: configured later, and read by every engine."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from app.kinds import Kind
from app.schema import SCHEMAS
from tests.engines.test_documented_queries import spark_python
from tests.support.service import Service

CLOCK: Final = "2026-03-01T12:00:00+00:00"
OLD: Final = 40
NEW: Final = 60
PROMOTED: Final = ("page", "price", "visits", "member")
PROMOTE: Final = [
    {"kind": "events", "path": "$.page", "name": "page", "type": "string"},
    {"kind": "events", "path": "$.cart.price", "name": "price", "type": "double"},
    {"kind": "events", "path": "$.visits", "name": "visits", "type": "integer"},
    {"kind": "events", "path": "$.member", "name": "member", "type": "boolean"},
    {"kind": "logs", "path": "$.code", "name": "code", "type": "integer"},
]

Answer = tuple[int, int, float, int, int]


def sent(first: int, count: int) -> list[dict[str, Any]]:
    """Events; every seventh has a price that is text, every fifth no page."""
    rows = []
    for number in range(first, first + count):
        properties: dict[str, Any] = {"visits": number, "member": number % 2 == 0}
        properties["cart"] = {"price": "free" if number % 7 == 0 else number / 4}
        if number % 5:
            properties["page"] = f"/p/{number % 3}"
        row = {
            "type": "track",
            "event": "view",
            "timestamp": 1_700_000_000_000 + number,
            "properties": properties,
        }
        rows.append(row | {"device_id": f"00000000-0000-4000-8000-{number:012d}"})
    return rows


def expected() -> Answer:
    """Rows in all, and of the new file's: pages, sum of prices, sum of visits, members."""
    new = [row["properties"] for row in sent(OLD, NEW)]
    prices = [row["cart"]["price"] for row in new if isinstance(row["cart"]["price"], float)]
    return (
        OLD + NEW,
        sum("page" in row for row in new),
        sum(prices),
        sum(row["visits"] for row in new),
        sum(row["member"] for row in new),
    )


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """events.parquet from before the promotions, events-0001.parquet with them."""
    with Service(tmp_path_factory.mktemp("grown"), clock=CLOCK) as service:
        service.start()
        service.post_json("events", sent(0, OLD))
        service.flush()
        assert service.terminate() == 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PARQUET_SINK__SINKS__PARQUET__PROMOTE", json.dumps(PROMOTE))
            service.start()
        service.post_json("events", sent(OLD, NEW))
        service.post_json("logs", [{"level": "info", "message": "x", "data": {"code": 7}}])
        service.flush()
        yield service


@pytest.fixture
def files(grown: Service, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(grown.directory)
    return "parquet/**/events*.parquet"


def by_duckdb(files: str) -> Answer:
    with duckdb.connect() as connection:
        text = f"""SELECT count(*), count(page), sum(price), sum(visits), count(*) FILTER (member)
            FROM read_parquet('{files}', union_by_name = true)"""
        (row,) = connection.execute(text).fetchall()
    return row


def by_polars(files: str) -> Answer:
    scans = [pl.scan_parquet(path) for path in sorted(Path().glob(files))]
    whole = pl.concat(scans, how="diagonal").select(
        pl.len(),
        pl.col("page").count(),
        pl.col("price").sum(),
        pl.col("visits").sum(),
        pl.col("member").sum(),
    )
    (row,) = whole.collect().rows()
    return row


def by_pyarrow(files: str) -> Answer:
    paths = sorted(map(str, Path().glob(files)))
    schema = pa.unify_schemas([pq.read_schema(path) for path in paths])
    rows = ds.dataset(paths, schema=schema).to_table().to_pylist()
    return (
        len(rows),
        sum(row["page"] is not None for row in rows),
        sum(row["price"] or 0.0 for row in rows),
        sum(row["visits"] or 0 for row in rows),
        sum(row["member"] or False for row in rows),
    )


def by_clickhouse(files: str) -> Answer:
    from chdb import query

    text = f"""SELECT count(), count(page), sum(price), sum(visits), sum(member) FROM file('{files}', Parquet)
        SETTINGS schema_inference_mode = 'union', output_format_json_quote_64bit_integers = 0"""
    (row,) = json.loads(str(query(text, "JSONCompact")))["data"]
    return tuple(row)


@pytest.mark.parametrize("read", [by_duckdb, by_polars, by_pyarrow, by_clickhouse])
def test_old_and_new_files_are_read_together(files: str, read: Callable[[str], Answer]) -> None:
    assert read(files) == expected()


SPARK_READS: Final = """
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.master("local[1]").getOrCreate()
files = spark.read.option("recursiveFileLookup", "true").option("pathGlobFilter", "events*.parquet")
"""
SPARK_PROMOTED: Final = """
row = files.option("mergeSchema", "true").parquet("parquet").agg(
    F.count("*"), F.count("page"), F.sum("price"), F.sum("visits"), F.count_if("member")
).collect()[0]
print("RESULT", list(row))
"""
SPARK_ANNOTATED: Final = """
rows = files.parquet("parquet")
visits = F.get_json_object("payload", "$.visits").cast("long")
row = rows.agg(F.count("*"), F.sum(visits)).collect()[0]
print("RESULT", [rows.schema["payload"].dataType.simpleString(), *row])
"""


def spark_result(program: str) -> str:
    """What the program prints as its result, run where the working directory is."""
    done = subprocess.run(
        [spark_python(), "-c", SPARK_READS + program],
        env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return line.removeprefix("RESULT ")


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_spark_reads_old_and_new_files_together(files: str) -> None:
    assert spark_result(SPARK_PROMOTED) == str(list(expected()))


def test_no_row_is_lost_to_a_type_and_what_did_not_fit_is_counted(grown: Service) -> None:
    bad = sum(number % 7 == 0 for number in range(OLD, OLD + NEW))
    name = 'parquet_sink_promoted_values_unfit_total{column="price",kind="events"}'
    assert grown.metrics()[name] == bad
    old, new = (pq.read_table(path, partitioning=None) for path in reversed(grown.data_files("events")))
    assert old.schema.names == SCHEMAS[Kind.EVENTS].names
    assert new.schema.names == [*old.schema.names, *PROMOTED]
    kept = [json.loads(payload)["cart"]["price"] for payload in new["payload"].to_pylist()]
    assert kept.count("free") == new["price"].null_count == bad
    assert new["timestamp"].to_pylist() == [row["timestamp"] for row in sent(OLD, NEW)]
    [logs] = grown.data_files("logs")
    assert pq.read_table(logs, partitioning=None)["code"].to_pylist() == [7]


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Files whose payload is JSON from the beginning."""
    config = {"sinks.parquet": {"payload_type": "json"}}
    with Service(tmp_path_factory.mktemp("annotated"), config, clock=CLOCK) as service:
        service.start()
        service.post_json("events", sent(0, NEW))
        service.flush()
        yield service


def test_the_json_annotation_lets_engines_take_members_without_a_cast(
    annotated: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(annotated.directory)
    files = "parquet/**/events*.parquet"
    visits = sum(range(NEW))
    with duckdb.connect() as connection:
        text = f"SELECT sum((payload->>'$.visits')::INT), any_value(typeof(payload)) FROM '{files}'"
        assert connection.execute(text).fetchall() == [(visits, "JSON")]
    from chdb import query

    text = f"SELECT sum(payload.visits::Int64), any(toTypeName(payload)) FROM file('{files}', Parquet)"
    assert str(query(text, "CSV")).strip() == f'{visits},"JSON"'
    [path] = annotated.data_files("events")
    table = pq.read_table(path, partitioning=None)
    assert isinstance(table.schema.field("payload").type, pa.JsonType)
    assert sum(json.loads(each)["visits"] for each in table["payload"].to_pylist()) == visits
    column = pl.scan_parquet(files).select(
        pl.col("payload").cast(pl.String).str.json_path_match("$.visits").cast(pl.Int64).sum()
    )
    assert column.collect().item() == visits
    assert pq.ParquetFile(path).metadata.schema.column(8).physical_type == "BYTE_ARRAY"


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_spark_takes_an_annotated_payload_for_text(
    annotated: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(annotated.directory)
    assert spark_result(SPARK_ANNOTATED) == str(["string", NEW, sum(range(NEW))])
