"""The next version of a data file while it is written."""

from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.parquet.columns import as_decoded_column
from app.parquet.data_file import DataFile
from app.parquet.row_group import MAGIC, RowGroup, footer

KEY_PREFIX: Final = "parquet_sink."


class Draft:
    """New row groups for a file, in memory: nothing is on disk before they are all known to fit.

    The next version of the file is the old one, byte for byte, then `chunks()`. `facts` become its key-value
    metadata, `schema` has its columns.
    """

    def __init__(
        self,
        schema: pa.Schema,
        facts: Mapping[str, str],
        old: DataFile | None = None,
        old_metadata: pq.FileMetaData | None = None,
    ) -> None:
        self.old = old
        self.old_bytes = old.bytes if old else 0
        self.rows = 0
        self._schema = schema
        self._facts = {KEY_PREFIX + name: value for name, value in facts.items()}
        self._metadata = [] if old_metadata is None else [old_metadata]
        self._row_groups = old_metadata.num_row_groups if old_metadata is not None else 0
        self._chunks: list[bytes | memoryview] = [] if old else [MAGIC]
        self._footer = b""
        self._measured: tuple[RowGroup, bytes] | None = None
        self._end = self.old_bytes or len(MAGIC)
        self._timestamps: list[int] = [old.min_timestamp, old.max_timestamp] if old else []

    @property
    def offset(self) -> int:
        """Where the next row group will stand."""
        return self._end

    @property
    def size(self) -> int:
        """The length of the file with what was added."""
        return self._end + len(self._footer)

    @property
    def row_groups(self) -> int:
        """Their number, old ones included."""
        return self._row_groups

    @property
    def has_rows(self) -> bool:
        return self.old is not None or self.rows > 0

    @property
    def total_rows(self) -> int:
        return self.rows + (self.old.rows if self.old else 0)

    @property
    def min_timestamp(self) -> int:
        return min(self._timestamps)

    @property
    def max_timestamp(self) -> int:
        return max(self._timestamps)

    def size_with(self, group: RowGroup) -> int:
        """The length of the file if this row group were its last."""
        end = footer(self._schema, [*self._metadata, group.metadata], self._facts)
        self._measured = group, end
        return self._end + group.size + len(end)

    def add(self, group: RowGroup, rows: pa.Table) -> None:
        """Take the row group that `size_with` has just measured, and the rows it was made from."""
        if self._measured is None or self._measured[0] is not group:
            raise ValueError("a row group is measured before it is added")
        self._footer = self._measured[1]
        self._metadata.append(group.metadata)
        self._chunks.append(group.data)
        self._end += group.size
        self._row_groups += 1
        self.rows += rows.num_rows
        extent: Any = pc.min_max(as_decoded_column(rows.column("timestamp"), pa.int64()))
        self._timestamps += [extent["min"].as_py(), extent["max"].as_py()]

    def chunks(self) -> list[bytes | memoryview]:
        """The new bytes: row groups and the footer over the whole file."""
        return [*self._chunks, self._footer]
