"""Published files as engines see them."""

from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.kinds import Kind
from app.parquet.layout import CODECS, Layout
from app.publish.rotation import WriterPolicy
from app.schema import SCHEMAS
from tests.parquet.bench import Bench
from tests.parquet.rows import all_timestamps, event_rows, published

FILE = "7/2026-01-01/events.parquet"


def test_two_hundred_flushes_make_one_file_with_all_rows(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    sent = [event_rows(n * 10, 10) for n in range(200)]
    for lsn, rows in enumerate(sent, 1):
        bench.put(lsn, rows)
        bench.flush()
    path = bench.data / FILE
    whole = pa.Table.from_batches(sent)
    assert published(bench.data) == {FILE: list(range(2000))}
    assert pq.read_table(path).equals(whole)
    assert pl.read_parquet(path).to_arrow().cast(whole.schema).equals(whole)
    found = duckdb.sql(f"select count(*), count(distinct timestamp), sum(timestamp) from '{path}'").fetchall()
    assert found == [(2000, 2000, 1999000)]
    assert pq.read_metadata(path).num_row_groups == 200
    [file] = bench.manifest.files()
    assert (file.rows, file.bytes, file.min_timestamp, file.max_timestamp) == (
        2000,
        path.stat().st_size,
        0,
        1999,
    )


def test_a_file_with_the_most_row_groups_is_sealed_and_the_next_number_begins(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(row_groups_max=3))
    for lsn in range(1, 8):
        bench.put(lsn, event_rows(lsn * 10, 10))
        bench.flush()
    groups = {
        file.path: pq.read_metadata(bench.data / file.path).num_row_groups for file in bench.manifest.files()
    }
    stem = FILE.removesuffix(".parquet")
    assert groups == {FILE: 3, f"{stem}-0001.parquet": 3, f"{stem}-0002.parquet": 1}
    assert [file.sealed for file in bench.manifest.files()] == [True, True, False]
    assert all_timestamps(bench.data) == list(range(10, 80))


def test_a_day_of_flushes_makes_one_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for lsn in range(1, 41):
        bench.now_ms += bench.policy.flush_interval_ms
        bench.put(lsn, event_rows(lsn * 500, 500))
        bench.flush()
    assert published(bench.data) == {FILE: list(range(500, 41 * 500))}


def test_a_flush_of_many_rows_is_cut_by_rows_and_by_bytes(tmp_path: Path) -> None:
    policy = WriterPolicy(row_group_bytes=60_000, row_group_rows=1500)
    bench = Bench(tmp_path, policy=policy)
    bench.put(1, event_rows(0, 4000))
    bench.put(2, event_rows(4000, 500, payload_bytes=1000))
    bench.flush()
    metadata = pq.read_metadata(bench.data / FILE)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    sizes = [sum(g.column(c).total_compressed_size for c in range(9)) for g in groups]
    assert max(g.num_rows for g in groups) <= 1500
    assert len(groups) > 5
    assert all(size < 2 * policy.row_group_bytes for size in sizes)
    assert all_timestamps(bench.data) == list(range(4500))


def test_a_footer_holds_little_besides_where_the_columns_are(tmp_path: Path) -> None:
    """Every flush leaves one in the file for ever: long texts, ids and payloads have no place in it."""
    rows = event_rows(0, 200).to_pylist()
    for row in rows:
        row["event_name"] = "name " * 500
    bench = Bench(tmp_path)
    bench.put(1, pa.RecordBatch.from_pylist(rows, schema=SCHEMAS[Kind.EVENTS]))
    bench.flush()
    metadata = pq.read_metadata(bench.data / FILE)
    group = metadata.row_group(0)
    measured = [group.column(c).path_in_schema for c in range(9) if group.column(c).is_stats_set]
    assert measured == ["timestamp", "batch_timestamp", "workspace_id", "event_type"]
    assert metadata.serialized_size < 1500


def test_old_bytes_never_move(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    before = b""
    for lsn in range(1, 20):
        bench.put(lsn, event_rows(lsn * 100, 100))
        bench.flush()
        now = (bench.data / FILE).read_bytes()
        assert now.startswith(before)
        assert len(now) > len(before)
        before = now


def test_a_reader_with_the_old_footer_reads_the_old_rows_from_the_new_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 500))
    bench.flush()
    footer = pq.read_metadata(bench.data / FILE)
    bench.put(2, event_rows(500, 500))
    bench.flush()
    old_view = pq.ParquetFile(bench.data / FILE, metadata=footer, page_checksum_verification=True).read()
    assert old_view["timestamp"].to_pylist() == list(range(500))


def test_indexes_of_old_and_new_row_groups_are_found(tmp_path: Path) -> None:
    """DuckDB and Polars prune by statistics; a row of each row group must still be found by its value."""
    bench = Bench(tmp_path)
    for lsn in range(1, 6):
        bench.put(lsn, event_rows(lsn * 100_000, 25_000))
        bench.flush()
    path = bench.data / FILE
    metadata = pq.read_metadata(path)
    for group in range(5):
        column = metadata.row_group(group).column(0)
        assert column.has_offset_index
        assert column.has_column_index
        assert column.statistics.min == (group + 1) * 100_000
        wanted = (group + 1) * 100_000 + 24_999
        one = duckdb.sql(f"select count(*) from '{path}' where timestamp = {wanted}").fetchall()
        assert one == [(1,)]
        assert pl.scan_parquet(path).filter(pl.col("timestamp") == wanted).collect().height == 1


@pytest.mark.parametrize(
    ("codec", "on_disk"),
    [
        ("snappy", "SNAPPY"),
        ("gzip", "GZIP"),
        ("lz4", "LZ4_RAW"),
        ("zstd", "ZSTD"),
        ("uncompressed", "UNCOMPRESSED"),
    ],
)
def test_each_codec_is_written_and_read(tmp_path: Path, codec: str, on_disk: str) -> None:
    assert codec in CODECS
    bench = Bench(tmp_path, policy=WriterPolicy(layout=Layout(codec=codec)))
    for lsn in (1, 2):
        bench.put(lsn, event_rows(lsn * 1000, 1000))
        bench.flush()
    path = bench.data / FILE
    assert duckdb.sql(f"select distinct compression from parquet_metadata('{path}')").fetchall() == [
        (on_disk,)
    ]
    assert duckdb.sql(f"select count(*), sum(octet_length(payload)) > 0 from '{path}'").fetchall() == [
        (2000, True)
    ]
    assert pl.read_parquet(path)["timestamp"].to_list() == list(range(1000, 3000))
    assert published(bench.data) == {FILE: list(range(1000, 3000))}
    assert bench.manifest.files()[0].compression == codec


def test_types_and_nullability_are_the_contract(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 5))
    bench.flush()
    file = pq.ParquetFile(bench.data / FILE)
    assert file.schema_arrow.equals(SCHEMAS[Kind.EVENTS], check_metadata=False)
    physical = {column.name: column.physical_type for column in map(file.schema.column, range(9))}
    assert physical["timestamp"] == "INT64"
    assert physical["device_id"] == "FIXED_LEN_BYTE_ARRAY"
    assert str(file.schema.column(2).logical_type) == "Int(bitWidth=64, isSigned=false)"


def test_the_file_says_who_wrote_it_and_which_frames_it_holds(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(writer_version="parquet-sink 9.9"))
    bench.put(4, event_rows(0, 5))
    bench.flush()
    bench.put(9, event_rows(5, 5))
    bench.flush()
    facts = pq.read_metadata(bench.data / FILE).metadata
    assert {key: facts[b"parquet_sink." + key] for key in (b"writer", b"kind", b"commit")} == {
        b"writer": b"parquet-sink 9.9",
        b"kind": b"events",
        b"commit": b"2",
    }
    assert (facts[b"parquet_sink.first_lsn"], facts[b"parquet_sink.last_lsn"]) == (b"4", b"9")
    assert b"ARROW:schema" not in facts
