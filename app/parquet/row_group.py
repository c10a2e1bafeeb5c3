"""Rows into Parquet row groups that can be appended to an existing file, by pyarrow's public interface alone.

A ParquetWriter counts offsets from where its file began. To make them absolute in a file of N bytes it is
told, with zeros that nobody keeps, that N bytes went before. What it then writes are the new row groups with
their page indexes, ready to stand at offset N; its footer is dropped, and one footer over all row groups of
the file is made from the old metadata and the new.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.parquet.layout import Layout
from app.parquet.writer_options import writer_options
from app.schema import Kind

MAGIC: Final = b"PAR1"
_FOOTER_TAIL_BYTES: Final = 8  # length of the footer, magic

BUFFER_BYTES: Final = 4 << 20
"""The encoder calls back into Python once for so many bytes: each time it must wait for the interpreter."""


class RowGroup(msgspec.Struct, frozen=True):
    """chunks: the bytes, in order. size: their number. metadata: a FileMetaData with this row group alone."""

    chunks: list[bytes]
    size: int
    metadata: pq.FileMetaData


class _Chunks:
    """A writable file in memory whose first `skip` bytes are not kept."""

    def __init__(self, skip: int) -> None:
        self.kept: list[bytes] = []
        self._skip = skip
        self.closed = False

    def write(self, data: bytes) -> int:
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        if skipped < len(data):
            self.kept.append(data[skipped:])
        return len(data)

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def encode_row_group(rows: pa.Table, kind: Kind, layout: Layout, offset: int) -> RowGroup:
    """Encode rows (columns as layout.schema(kind)) as one row group that will stand at `offset` of its file.

    `offset` is the length of the file so far, at least the 4 magic bytes. Raises pa.ArrowException when a row
    cannot be encoded, or holds text that is not UTF-8 (which engines would refuse to read).
    """
    for column in rows.columns:
        if pa.types.is_string(column.type) or isinstance(column.type, pa.JsonType):
            column.validate(full=True)
    sink = _Chunks(skip=offset)
    file = pa.BufferedOutputStream(pa.PythonFile(sink, mode="w"), BUFFER_BYTES)
    written: list[pq.FileMetaData] = []
    options = writer_options(rows, kind, layout)
    writer = pq.ParquetWriter(file, layout.schema(kind), metadata_collector=written, **options)
    _advance(file, offset)
    try:
        writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
    except pa.ArrowException:
        writer.is_open = False  # else it tries to finish a file that nobody wants
        raise
    writer.close()
    file.flush()
    _drop_footer(sink.kept)
    return RowGroup(sink.kept, sum(map(len, sink.kept)), written[0])


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


def _advance(file: pa.NativeFile, offset: int) -> None:
    zeros = memoryview(bytes(min(offset, BUFFER_BYTES)))
    while (left := offset - file.tell()) > 0:
        file.write(zeros[: min(left, BUFFER_BYTES)])


def _drop_footer(chunks: list[bytes]) -> None:
    """Take the writer's own footer off the end, wherever the writes were divided."""
    length = int.from_bytes(_last_bytes(chunks, _FOOTER_TAIL_BYTES)[:4], "little") + _FOOTER_TAIL_BYTES
    while length:
        last = chunks.pop()
        if len(last) > length:
            chunks.append(last[:-length])
            return
        length -= len(last)


def _last_bytes(chunks: list[bytes], count: int) -> bytes:
    tail = b""
    for chunk in reversed(chunks):
        tail = chunk + tail
        if len(tail) >= count:
            break
    return tail[-count:]
