"""The entry of an Iceberg manifest for a data file, made from its Parquet footer without reading rows."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow.parquet as pq
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record


class NotInOnePartition(ValueError):
    """The table is partitioned in a way that puts the rows of one file into several partitions."""


class _ColumnStatistics(msgspec.Struct):
    """Statistics of one column over all row groups. nulls, low, high: None if any row group lacks them."""

    bytes: int = 0
    values: int = 0
    nulls: int | None = 0
    low: Any = None
    high: Any = None
    bounded: bool = True

    def add(self, chunk: pq.ColumnChunkMetaData) -> None:
        self.bytes += chunk.total_compressed_size
        self.values += chunk.num_values
        found = chunk.statistics if chunk.is_stats_set else None
        if found is None or not found.has_null_count or self.nulls is None:
            self.nulls = None
        else:
            self.nulls += found.null_count
        if found is None or not found.has_min_max:
            only_nulls = found is not None and found.has_null_count and found.null_count == chunk.num_values
            self.bounded &= only_nulls
            return
        self.low = found.min if self.low is None else min(self.low, found.min)
        self.high = found.max if self.high is None else max(self.high, found.max)

    @property
    def bounds(self) -> tuple[Any, Any] | None:
        return None if not self.bounded or self.low is None else (self.low, self.high)


def iceberg_data_file(url: str, size: int, footer: pq.FileMetaData, table: TableMetadata) -> DataFile:
    """The entry for a file of `size` bytes. Raises NotInOnePartition; ValueError for an unknown column."""
    schema, spec = table.schema(), table.spec()
    columns = _columns(footer, schema)
    bounds = {field_id: found for field_id, column in columns.items() if (found := column.bounds)}
    types: dict[int, Any] = {field_id: schema.find_type(field_id) for field_id in columns}
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=url,
        file_format=FileFormat.PARQUET,
        partition=_partition(spec, schema, bounds, url),
        record_count=footer.num_rows,
        file_size_in_bytes=size,
        column_sizes={field_id: column.bytes for field_id, column in columns.items()},
        value_counts={field_id: column.values for field_id, column in columns.items()},
        null_value_counts={f: column.nulls for f, column in columns.items() if column.nulls is not None},
        nan_value_counts={},
        lower_bounds={f: to_bytes(types[f], low) for f, (low, _) in bounds.items()},
        upper_bounds={f: to_bytes(types[f], high) for f, (_, high) in bounds.items()},
        split_offsets=sorted(_offsets(footer)),
        sort_order_id=None,
        spec_id=spec.spec_id,
        equality_ids=None,
        key_metadata=None,
    )


def _columns(footer: pq.FileMetaData, schema: Schema) -> dict[int, _ColumnStatistics]:
    names = [footer.schema.column(number).path for number in range(footer.num_columns)]
    fields = [schema.find_field(name).field_id for name in names]
    columns = {field_id: _ColumnStatistics() for field_id in fields}
    for group in range(footer.num_row_groups):
        for number, field_id in enumerate(fields):
            columns[field_id].add(footer.row_group(group).column(number))
    return columns


def _offsets(footer: pq.FileMetaData) -> Iterator[int]:
    """Where each row group begins."""
    for group in range(footer.num_row_groups):
        first = footer.row_group(group).column(0)
        starts = [first.data_page_offset]
        if first.has_dictionary_page and first.dictionary_page_offset is not None:
            starts.append(first.dictionary_page_offset)
        yield min(starts)


def _partition(spec: PartitionSpec, schema: Schema, bounds: dict[int, tuple[Any, Any]], url: str) -> Record:
    values = []
    for field in spec.fields:
        transform = field.transform.transform(schema.find_type(field.source_id))
        low, high = map(transform, bounds.get(field.source_id, (None, None)))
        if low != high or field.source_id not in bounds:
            raise NotInOnePartition(
                f"the table's partition field {field.name} has several values in {url}: partition the table "
                "by workspace_id and truncate(batch_timestamp, 86400000), or leave it unpartitioned"
            )
        values.append(low)
    return Record(*values)
