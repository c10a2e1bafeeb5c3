"""What a row group gets depends on its rows: dictionaries, filters and indexes only where they pay."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb
import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.kinds import Kind
from app.parquet.layout import Layout
from app.parquet.row_group import MAGIC, RowGroup, encode_row_group
from app.parquet.writer_options import BLOOM_ROWS_MIN, BLOOM_VALUES_MAX, distinct_values, writer_options
from app.publish.manifest import Publication
from app.publish.rotation import WriterPolicy
from app.schema import SCHEMAS
from tests.parquet.bench import Bench
from tests.parquet.rows import event_rows, published

FILE: Final = "7/2026-01-01/events.parquet"
DEVICE: Final = SCHEMAS[Kind.EVENTS].get_field_index("device_id")


def ids(count: int, distinct: int, nulls: int = 0) -> pa.Array:
    """16-byte ids in random order, then some nulls."""
    rng = np.random.default_rng(distinct)
    values = [rng.bytes(16) for _ in range(distinct)]
    return pa.array([*(values[n] for n in rng.integers(0, distinct, count)), *[None] * nulls], pa.binary(16))


def rows_with(devices: pa.Array) -> pa.Table:
    rows = pa.Table.from_batches([event_rows(0, len(devices))])
    return rows.set_column(DEVICE, SCHEMAS[Kind.EVENTS].field(DEVICE), devices)


def encoded(rows: pa.Table) -> RowGroup:
    return encode_row_group(rows, Kind.EVENTS, Layout(), len(MAGIC))


@pytest.mark.parametrize("distinct", [1, 2, 50, 1_000, 30_000])
def test_distinct_ids_are_counted_within_a_few_percent(distinct: int) -> None:
    column = ids(distinct * 4, distinct, nulls=7)
    true = len(column.unique().drop_null())
    assert distinct_values(pa.chunked_array([column])) == pytest.approx(true, rel=0.03, abs=1)
    cut = pa.chunked_array([column.slice(0, distinct), column.slice(distinct)])
    assert distinct_values(cut) == distinct_values(pa.chunked_array([column]))


def test_a_column_of_nulls_has_no_values() -> None:
    assert distinct_values(pa.chunked_array([pa.nulls(9, pa.binary(16))])) == 0
    assert distinct_values(pa.chunked_array([], pa.binary(16))) == 0


@pytest.mark.parametrize(("distinct", "has_dictionary"), [(100, True), (900, True), (5_000_000, False)])
def test_ids_get_a_dictionary_where_they_repeat(distinct: int, has_dictionary: bool) -> None:
    column = encoded(rows_with(ids(2000, min(distinct, 1_000_000)))).metadata.row_group(0).column(DEVICE)
    assert column.has_dictionary_page is has_dictionary


def test_few_rows_have_no_dictionary_and_no_index() -> None:
    group = encoded(pa.Table.from_batches([event_rows(0, 5)])).metadata.row_group(0)
    columns = [group.column(number) for number in range(9)]
    assert not any(column.has_dictionary_page or column.has_offset_index for column in columns)


def test_filters_are_for_many_rows_and_bounded() -> None:
    few = writer_options(rows_with(ids(BLOOM_ROWS_MIN - 1, 50)), Kind.EVENTS, Layout())
    many = writer_options(rows_with(ids(BLOOM_ROWS_MIN, 50)), Kind.EVENTS, Layout())
    assert few["bloom_filter_options"] is None
    assert many["bloom_filter_options"]["device_id"]["ndv"] == pytest.approx(50, abs=1)
    plain = encoded(rows_with(pa.nulls(BLOOM_VALUES_MAX // 40, pa.binary(16)))).size
    filtered = encoded(rows_with(ids(BLOOM_VALUES_MAX // 40, BLOOM_VALUES_MAX // 40))).size
    assert filtered - plain < BLOOM_VALUES_MAX // 40 * (16 + 4)


def by_duckdb(path: Path, device: bytes) -> int:
    with duckdb.connect() as connection:
        text = f"SELECT count(*) FROM '{path}' WHERE device_id = unhex('{device.hex()}')"
        (row,) = connection.execute(text).fetchall()
    return int(row[0])


def by_polars(path: Path, device: bytes) -> int:
    return pl.scan_parquet(path).filter(pl.col("device_id") == device).collect().height


@pytest.mark.parametrize("find", [by_duckdb, by_polars])
def test_a_device_is_found_in_every_appended_row_group(
    tmp_path: Path, find: Callable[[Path, bytes], int]
) -> None:
    bench = Bench(tmp_path)
    batches = [event_rows(lsn * 10_000, 6_000) for lsn in (1, 2, 3)]
    for lsn, rows in enumerate(batches, 1):
        bench.put(lsn, rows)
        bench.flush()
    for rows in batches:
        for row in (0, 2_999, 5_999):
            assert find(bench.data / FILE, rows["device_id"][row].as_py()) == 1
    assert find(bench.data / FILE, b"no such device!!") == 0


def test_a_file_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """It has an Arrow schema, other statistics and a page index; its Parquet columns are the same."""
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 10))
    bench.flush()
    [file] = bench.manifest.files()
    pq.write_table(pa.Table.from_batches([event_rows(0, 10)]), bench.data / FILE, write_page_index=True)
    old = (bench.data / FILE).read_bytes()
    bench.manifest.append(Publication(id=2, files=[msgspec.structs.replace(file, bytes=len(old))]))
    bench.put(2, event_rows(10, 10))
    bench.flush()
    assert published(bench.data) == {FILE: list(range(20))}
    assert (bench.data / FILE).read_bytes().startswith(old)


@pytest.mark.parametrize(("codec", "level"), [("zstd", 9), ("gzip", 9), ("gzip", None)])
def test_a_compression_level_is_taken(tmp_path: Path, codec: str, level: int | None) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(layout=Layout(codec=codec, level=level)))
    bench.put(1, event_rows(0, 1000))
    bench.flush()
    assert published(bench.data) == {FILE: list(range(1000))}
    rows = pa.Table.from_batches([event_rows(0, 1000)])
    sizes = {n: encode_row_group(rows, Kind.EVENTS, Layout(codec=codec, level=n), 4).size for n in (1, 9)}
    assert sizes[9] != sizes[1]
