"""Published files as engines see them."""

from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.parquet.rotation import WriterPolicy
from app.parquet.writer_options import CODECS
from app.schema import SCHEMAS, Kind
from tests.parquet.bench import Bench
from tests.parquet.rows import event_rows, published

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
    bench = Bench(tmp_path, policy=WriterPolicy(codec=codec))
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
    assert b"ARROW:schema" in facts
