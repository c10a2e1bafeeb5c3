"""`annotate` and `ids_as`, configured later: old and new files, by every engine, and by the service's own."""

import contextlib
import datetime
import html
import io
import json
import uuid
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path
from typing import Any, Final

import chdb.session
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from app.cli import main
from app.kinds import Kind
from app.schema import SCHEMAS
from tests.engines.test_promoted import spark_result
from tests.support.payloads import DEVICE, SESSION, TIMESTAMP_MS, event, log_line
from tests.support.payloads import snapshot as snapshot_row
from tests.support.service import KEYS, Service

CLOCK: Final = "2026-03-01T12:00:00+00:00"
OLD: Final = 5
NEW: Final = 8
ALL: Final = ["ids", "payload", "timestamps"]
FORMS: Final[dict[str, dict[str, Any]]] = {
    "plain": {"annotate": []},
    "annotated": {"annotate": ALL},
    "binary": {"ids_as": "binary"},
}
SQL: Final = (
    "SELECT count(*), count(DISTINCT device_id), min(timestamp), max(timestamp), "
    "sum(CAST(payload->>'$.number' AS INT)), any_value(CAST(session_id AS VARCHAR)) FROM events"
)
SUM: Final = sum(range(OLD + NEW))


def sent(first: int, count: int) -> list[dict[str, Any]]:
    """Events; every second one has a device id of its own, every third no session."""
    rows = []
    for number in range(first, first + count):
        fields: dict[str, Any] = {}
        if number % 2:
            fields["device_id"] = f"00000000-0000-4000-8000-{number:012d}"
        if number % 3 == 0:
            fields["session_id"] = None
        rows.append(event(number, **fields))
    return rows


def send(service: Service, first: int, count: int) -> None:
    service.post_json("events", sent(first, count))
    service.post_json(
        "logs", [log_line(number, session_id=SESSION) for number in range(first, first + count)]
    )
    service.post_json("snapshots", [snapshot_row(number) for number in range(first, first + count)])
    service.flush()


def restarted(service: Service, form: str) -> Service:
    """With the files' columns in another form from now on."""
    assert service.terminate() == 0
    service.configure({"sinks.parquet": {"flush_interval": "3600s", **FORMS[form]}})
    return service.start()


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """events.parquet plain, events-0001.parquet annotated, two days on one of each form."""
    with Service(tmp_path_factory.mktemp("changed"), {"sinks.parquet": FORMS["plain"]}, CLOCK) as service:
        service.start()
        send(service, 0, OLD)
        restarted(service, "annotated")
        send(service, OLD, NEW)
        yield service


@pytest.fixture
def in_lake(changed: Service, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(changed.directory)
    return "parquet/1/2026-03-01"


def types_of(path: Path) -> dict[str, tuple[str, str]]:
    schema = pq.read_metadata(path).schema
    columns = map(schema.column, range(len(schema)))
    return {column.path: (column.physical_type, str(column.logical_type).split("(")[0]) for column in columns}


def test_the_old_file_is_sealed_and_the_new_one_carries_the_types_over_the_same_bytes(
    changed: Service,
) -> None:
    for kind in Kind:
        listed = {file["path"].rsplit("/", 1)[1]: file for file in changed.files(kind=kind.value)}
        assert set(listed) == {f"{kind.value}.parquet", f"{kind.value}-0001.parquet"}
        assert listed[f"{kind.value}.parquet"]["sealed"]
        new, old = changed.data_files(kind)
        before, after = types_of(old), types_of(new)
        for name, (physical, logical) in before.items():
            expected = {
                "timestamp": "Timestamp",
                "batch_timestamp": "Timestamp",
                "device_id": "UUID",
                "session_id": "UUID",
                "payload": "JSON",
            }
            assert after[name] == (physical, expected.get(name, logical)), (kind, name)
        rows = pq.read_table(new, partitioning=None)
        schema = SCHEMAS[kind]
        stored = [
            column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
            for column in rows.columns
        ]
        assert stored[0].to_pylist() == [TIMESTAMP_MS + number for number in range(OLD, OLD + NEW)]
        assert rows.schema.names == schema.names


def test_ids_and_times_are_what_was_sent(changed: Service) -> None:
    new, _ = changed.data_files(Kind.EVENTS)
    file = pq.ParquetFile(new)
    assert file.schema_arrow.field("timestamp").type == pa.timestamp("ms", "UTC")
    ids = [row.get("device_id") for row in sent(OLD, NEW)]
    table = file.read()
    assert [str(as_uuid(each)) for each in table["device_id"].to_pylist()] == ids
    assert table["session_id"].null_count == sum(n % 3 == 0 for n in range(OLD, OLD + NEW))
    statistics = file.metadata.row_group(0).column(0).statistics
    assert (statistics.min_raw, statistics.max_raw) == (TIMESTAMP_MS + OLD, TIMESTAMP_MS + OLD + NEW - 1)
    (listed,) = (file for file in changed.files(kind="events") if file["path"].endswith("-0001.parquet"))
    assert (listed["min_timestamp"], listed["max_timestamp"]) == (statistics.min_raw, statistics.max_raw)


def as_uuid(value: Any) -> uuid.UUID:
    return uuid.UUID(bytes=value) if isinstance(value, bytes) else value


def by_duckdb(lake: str) -> tuple[int, int, int]:
    with duckdb.connect() as connection:
        found = connection.execute(
            f"""SELECT count(*), count(*) FILTER (device_id = '{DEVICE}'), sum((payload->>'$.number')::INT)
            FROM '{lake}/events-0001.parquet'
            WHERE timestamp >= TIMESTAMPTZ '2023-11-14 22:13:20.128+00'"""
        ).fetchall()
    return found[0]


def by_polars(lake: str) -> tuple[int, int, int]:
    rows = pl.scan_parquet(f"{lake}/events-0001.parquet").filter(
        pl.col("timestamp") >= datetime.datetime(2023, 11, 14, 22, 13, 20, 128_000, datetime.UTC)
    )
    number = pl.col("payload").cast(pl.String).str.json_path_match("$.number").cast(pl.Int64)
    device = pl.col("device_id") == uuid.UUID(DEVICE).bytes
    return rows.select(pl.len(), device.sum(), number.sum()).collect().row(0)


def by_pyarrow(lake: str) -> tuple[int, int, int]:
    moment = pa.scalar(TIMESTAMP_MS + OLD, pa.timestamp("ms", "UTC"))
    rows = (
        ds.dataset(f"{lake}/events-0001.parquet").to_table(filter=ds.field("timestamp") >= moment).to_pylist()
    )
    devices = sum(str(as_uuid(row["device_id"])) == DEVICE for row in rows)
    return len(rows), devices, sum(json.loads(row["payload"])["number"] for row in rows)


def by_clickhouse(lake: str) -> tuple[int, int, int]:
    number = "JSONExtractInt(toString(payload), 'number')"
    text = f"""SELECT count(), countIf(device_id = '{DEVICE}'), sum({number})
        FROM file('{lake}/events-0001.parquet', Parquet)
        WHERE timestamp >= toDateTime64({TIMESTAMP_MS + OLD}/1000, 3, 'UTC')"""
    (row,) = json.loads(
        str(chdb.query(text + " SETTINGS output_format_json_quote_64bit_integers = 0", "JSONCompact"))
    )["data"]
    return tuple(row)


@pytest.mark.parametrize("read", [by_duckdb, by_polars, by_pyarrow, by_clickhouse])
def test_every_engine_compares_annotated_columns(
    in_lake: str, read: Callable[[str], tuple[int, int, int]]
) -> None:
    devices = sum(row["device_id"] == DEVICE for row in sent(OLD, NEW))
    assert read(in_lake) == (NEW, devices, sum(range(OLD, OLD + NEW)))


def test_one_glob_over_both_is_refused_or_worse_and_the_documents_say_so(in_lake: str) -> None:
    """The table in docs/files.md: who refuses, who reads on, and who is wrong."""
    files = f"{in_lake}/events*.parquet"
    with duckdb.connect() as connection, pytest.raises(duckdb.ConversionException):
        connection.execute(
            f"SELECT max(timestamp) FROM read_parquet('{files}', union_by_name = true)"
        ).fetchall()
    with pytest.raises(pl.exceptions.PolarsError):
        pl.scan_parquet(files).select(pl.col("timestamp").max()).collect()
    with pytest.raises(pa.ArrowException):
        pa.unify_schemas([pq.read_schema(path) for path in sorted(glob(files))])
    table = ds.dataset(sorted(glob(files))).to_table()
    assert sorted(table["timestamp"].cast(pa.int64()).to_pylist()) == [
        TIMESTAMP_MS + number for number in range(OLD + NEW)
    ]
    union = f"SELECT max(timestamp) FROM file('{files}', Parquet) SETTINGS schema_inference_mode = 'union'"
    with pytest.raises(RuntimeError, match="TYPE_MISMATCH"):
        chdb.query(union)
    wrong = str(chdb.query(f"SELECT max(timestamp), min(timestamp) FROM file('{files}', Parquet)", "CSV"))
    assert str(TIMESTAMP_MS + OLD + NEW - 1) not in wrong


def printed(service: Service, *arguments: str) -> str:
    out = io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stdout(out):
        assert main([*arguments, "--config", str(service.directory / "parquet-sink.toml")]) == 0
    out.seek(0)
    return out.read()


def answered(rows: list[tuple[Any, ...]]) -> list[str]:
    return [str(value) for value in rows[0]]


EXPECTED: Final = [
    str(OLD + NEW),
    str(1 + sum(number % 2 for number in range(OLD + NEW))),
    "2023-11-14 22:13:20.123000",
    f"2023-11-14 22:13:20.{123 + OLD + NEW - 1}000",
    str(SUM),
    SESSION,
]


def test_own_queries_see_the_same_columns_whatever_a_file_says(changed: Service) -> None:
    with duckdb.connect() as connection:
        connection.execute(printed(changed, "sql", "duckdb"))
        assert answered(connection.execute(SQL).fetchall()) == EXPECTED
        assert connection.execute("SELECT count(*) FROM logs, snapshots").fetchall() == [((OLD + NEW) ** 2,)]
    (row,) = json.loads(printed(changed, "query", SQL, "--format", "json"))
    assert [f"{value}" for value in row.values()] == [each.removesuffix("000") for each in EXPECTED]
    headers = {"Authorization": f"Bearer {KEYS[1]}"}
    answer = changed.http.post("/query", content=SQL, headers=headers)
    assert answer.status_code == 200, answer.text
    assert [f"{value}" for value in answer.json()[0].values()] == [
        each.removesuffix("000") for each in EXPECTED
    ]
    device = f"SELECT count(*) AS n FROM events WHERE device_id = '{DEVICE}' AND date = '2026-03-01'"
    answer = changed.http.post("/query", content=device, headers=headers)
    assert answer.json() == [{"n": sum(number % 2 == 0 for number in range(OLD + NEW))}]


def test_the_lines_for_other_engines_bring_both_to_the_same_columns(changed: Service) -> None:
    names: dict[str, Any] = {}
    exec(compile(printed(changed, "sql", "polars"), "polars", "exec"), names)
    frame = names["events"].collect()
    assert (frame.height, frame["timestamp"].max().microsecond) == (
        OLD + NEW,
        123_000 + (OLD + NEW - 1) * 1000,
    )
    assert frame["device_id"].dtype == pl.String
    with contextlib.closing(chdb.session.Session()) as session:
        for statement in printed(changed, "sql", "clickhouse").split(";"):
            if "CREATE" in statement:
                session.query(statement)
        sql = (
            "SELECT count(), sum(JSONExtractInt(payload, 'number')), toUnixTimestamp64Milli(max(timestamp)), "
            f"countIf(device_id = '{DEVICE}') FROM events"
        )
        devices = sum(number % 2 == 0 for number in range(OLD + NEW))
        assert str(session.query(sql, "CSV")).strip() == (
            f"{OLD + NEW},{SUM},{TIMESTAMP_MS + OLD + NEW - 1},{devices}"
        )
    text = printed(changed, "sql", "spark")
    compile(text, "spark", "exec")
    assert "Spark refuses files with UUID columns" in text


def test_a_file_s_page_shows_annotated_values(changed: Service) -> None:
    (file,) = (each for each in changed.files(kind="events") if each["path"].endswith("-0001.parquet"))
    page = changed.admin("GET", f"/files/{file['path']}?view", headers={"Accept": "text/html"})
    assert page.status_code == 200
    for shown in ("UUID", "JSON", "Timestamp", DEVICE, "2023-11-14 22:13:20", '"number"'):
        assert shown in html.unescape(page.text)


def test_binary_ids_are_plain_bytes_and_go_with_fixed_ones(tmp_path: Path) -> None:
    with Service(tmp_path, {"sinks.parquet": FORMS["plain"]}, CLOCK) as service:
        service.start()
        service.post_json("events", sent(0, OLD))
        service.flush()
        restarted(service, "binary")
        service.post_json("events", sent(OLD, NEW))
        service.flush()
        new, old = service.data_files(Kind.EVENTS)
        assert types_of(old)["device_id"] == ("FIXED_LEN_BYTE_ARRAY", "None")
        assert types_of(new)["device_id"] == types_of(new)["session_id"] == ("BYTE_ARRAY", "None")
        assert types_of(new)["source_ip"] == ("FIXED_LEN_BYTE_ARRAY", "None")
        device = uuid.UUID(DEVICE).bytes
        both = [str(new), str(old)]
        count = sum(number % 2 == 0 for number in range(OLD + NEW))
        assert pl.scan_parquet(both).filter(pl.col("device_id") == device).collect().height == count
        with duckdb.connect() as connection:
            sql = "SELECT count(*) FROM read_parquet(?) WHERE device_id = ?"
            assert connection.execute(sql, [both, device]).fetchall() == [(count,)]
        assert ds.dataset(both).to_table(filter=ds.field("device_id") == device).num_rows == count
        files = f"file('{old.parent}/events*.parquet', Parquet)"
        text = f"SELECT count() FROM {files} WHERE hex(device_id) = '{device.hex().upper()}'"
        assert str(chdb.query(text, "CSV")).strip() == str(count)
        (row,) = json.loads(printed(service, "query", SQL, "--format", "json"))
        assert [f"{value}" for value in row.values()] == [each.removesuffix("000") for each in EXPECTED]
        headers = {"Authorization": f"Bearer {KEYS[1]}"}
        answer = service.http.post("/query", content=SQL, headers=headers).json()[0]
        assert [f"{value}" for value in answer.values()] == [each.removesuffix("000") for each in EXPECTED]


SPARK_READS_TIMES: Final = """
rows = files.parquet("parquet")
row = rows.agg(F.count("*"), F.unix_millis(F.max("timestamp"))).collect()[0]
print("RESULT", [rows.schema["timestamp"].dataType.simpleString(), *row])
"""
SPARK_IS_REFUSED: Final = """
try:
    files.parquet("parquet").select("event_name").collect()
except Exception as refusal:
    print("RESULT", "UUID" in str(refusal))
"""


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_spark_reads_annotated_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"sinks.parquet": {"annotate": ["payload", "timestamps"]}}
    with Service(tmp_path, config, CLOCK) as service:
        service.start()
        send(service, 0, NEW)
    monkeypatch.chdir(tmp_path)
    assert spark_result(SPARK_READS_TIMES) == str(["timestamp", NEW, TIMESTAMP_MS + NEW - 1])


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_spark_refuses_a_file_with_a_uuid_column(in_lake: str) -> None:
    assert spark_result(SPARK_IS_REFUSED) == "True"
