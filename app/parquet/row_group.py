"""Rows into Parquet row groups that can be appended to an existing file, by pyarrow's public interface alone.

A ParquetWriter takes its offsets from where its file stands. To make them absolute in a file of N bytes it
writes into memory and, once it has begun, is moved on to N; what lies before is never touched. What it writes
there are the new row groups with their page indexes, ready to stand at offset N; its footer is dropped, and
one footer over all row groups of the file is made from the old metadata and the new. Nothing of that calls
back into Python, so that other threads have the interpreter meanwhile.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.kinds import Kind
from app.parquet.layout import Layout
from app.parquet.writer_options import writer_options

MAGIC: Final = b"PAR1"
_FOOTER_TAIL_BYTES: Final = 8  # length of the footer, magic

ROOM_FACTOR: Final = 2
ROOM_BYTES: Final = 32 << 20
"""Address space for the encoder: a multiple of the rows' size, plus a fixed number of bytes."""


class RowGroup(msgspec.Struct, frozen=True):
    """data: its bytes. metadata: a FileMetaData with this row group alone."""

    data: memoryview
    metadata: pq.FileMetaData

    @property
    def size(self) -> int:
        return self.data.nbytes


def encode_row_group(
    rows: pa.Table, kind: Kind, layout: Layout, offset: int, sorted_by: Sequence[str] = ()
) -> RowGroup:
    """Encode rows as one row group that will stand at `offset` of its file.

    rows: columns as layout.schema(kind), or as files had them under another configuration.
    sorted_by: columns in whose ascending order, nulls last, the rows are; the row group says so. `offset` is
    the length of the file so far, at least the 4 magic bytes. Raises pa.ArrowException when a row cannot be
    encoded, or holds text that is not UTF-8 (which engines would refuse to read).
    """
    for column in rows.columns:
        if pa.types.is_string(column.type) or isinstance(column.type, pa.JsonType):
            column.validate(full=True)
    file = _room(offset + _bound(rows))
    written: list[pq.FileMetaData] = []
    options = writer_options(rows, kind, layout)
    if sorted_by:
        places = [rows.schema.get_field_index(name) for name in sorted_by]
        options["sorting_columns"] = [pq.SortingColumn(place) for place in places]
    writer = pq.ParquetWriter(file, rows.schema.remove_metadata(), metadata_collector=written, **options)
    file.seek(offset)
    try:
        writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
    except pa.ArrowException:
        writer.is_open = False  # else it would try to finish a file that is not needed
        raise
    writer.close()
    size = file.tell() - offset
    file.seek(offset)
    return RowGroup(_without_footer(memoryview(file.read_buffer(size))), written[0])


def _room(size: int) -> pa.MemoryMappedFile:
    descriptor = os.memfd_create("row-group")
    try:
        os.ftruncate(descriptor, size)
        return pa.memory_map(f"/proc/self/fd/{descriptor}", "r+")
    finally:
        os.close(descriptor)


def _bound(rows: pa.Table) -> int:
    """More bytes than these rows can take when they are encoded. What is not written takes no memory."""
    size: int = rows.nbytes
    return ROOM_FACTOR * size + ROOM_BYTES


def footer(schema: pa.Schema, row_groups: Sequence[pq.FileMetaData], facts: Mapping[str, str]) -> bytes:
    """The end of a file over all these row groups, with `facts` as key-value metadata."""
    metadata = empty_metadata(schema, facts)
    for group in row_groups:
        metadata.append_row_groups(group)
    out = pa.BufferOutputStream()
    metadata.write_metadata_file(out)
    return bytes(out.getvalue().slice(len(MAGIC)))


def empty_metadata(schema: pa.Schema, facts: Mapping[str, str]) -> pq.FileMetaData:
    """Of a file without rows. The Arrow schema is left out: the Parquet types say the same in less."""
    written: list[pq.FileMetaData] = []
    nowhere = pa.BufferOutputStream()
    with pq.ParquetWriter(nowhere, schema, store_schema=False, metadata_collector=written) as writer:
        writer.add_key_value_metadata(dict(facts))
    return written[0]


def _without_footer(data: memoryview) -> memoryview:
    length = int.from_bytes(data[-_FOOTER_TAIL_BYTES:][:4], "little") + _FOOTER_TAIL_BYTES
    return data[:-length]
