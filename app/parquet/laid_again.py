"""Compaction of a data file into its final form: its rows, sorted, in row groups of full size. Pure.

Rows are read section by section, so that memory is bounded: a section is as many of the old row groups, one
behind the other, as fit into `section_bytes` in memory, and is sorted by itself. Rows are in the order of
their receipt before, so sections follow one another nearly as the rows of one sorted file would.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.kinds import Kind
from app.parquet.draft import KEY_PREFIX
from app.parquet.file_policy import FilePolicy
from app.parquet.layout import Layout
from app.parquet.row_group import encode_row_group, footer
from app.parquet.wanted import Wanted, matching, stored

ROW_GROUPS_MIN: Final = 4
"""A file with fewer row groups would gain nothing."""

GAIN: Final = 2
"""A file is compacted when it has more than this many times the row groups that it needs."""

SPARE: Final = 1.1
"""A row group may be this much larger than intended before its rows are divided again."""


class LayingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """layout: of the final form; its codec counts, columns stay what they are. sort: columns, the first one
    counts first; those that a kind does not have are left out. section_bytes: sorted together, in memory."""

    layout: Layout
    sort: tuple[str, ...] = ("timestamp",)
    section_bytes: int = 64 << 20


def gains(old: pq.FileMetaData, policy: FilePolicy) -> bool:
    """Whether a file is worth compacting: it has many more row groups than it needs."""
    by_bytes = -(-_encoded_bytes(old) // policy.row_group_bytes)
    needed = max(1, -(-old.num_rows // policy.row_group_rows), by_bytes)
    groups: int = old.num_row_groups
    return groups >= ROW_GROUPS_MIN and groups > GAIN * needed


def _encoded_bytes(metadata: pq.FileMetaData) -> int:
    """Of all columns, without footers."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    columns = (group.column(each) for group in groups for each in range(group.num_columns))
    return sum(int(column.total_compressed_size) for column in columns)


class LaidAgain:
    """New row groups for a file's rows, which will stand from `offset` on, one after the other.

    old: the file as it is, whose columns stay. offset: its length. without: rows that are left out.
    """

    def __init__(
        self,
        old: pq.ParquetFile,
        kind: Kind,
        files: FilePolicy,
        policy: LayingPolicy,
        offset: int,
        without: Wanted | None = None,
    ) -> None:
        self._schema = old.schema_arrow.remove_metadata()
        self._without = without
        self._old = old
        self._kind = kind
        self._files = files
        self._policy = policy
        self._sort = [name for name in policy.sort if name in self._schema.names]
        self._metadata: list[pq.FileMetaData] = []
        self._begin = self._end = offset
        self.rows = 0
        self.rows_left_out = 0

    @property
    def codec(self) -> str:
        return self._policy.layout.codec

    @property
    def row_groups(self) -> int:
        """How many there are so far."""
        return len(self._metadata)

    def steps(self) -> Iterator[memoryview | None]:
        """The bytes of one new row group after the other; None after a step that has made none.

        Raises pa.ArrowException, OSError for a file that cannot be read.
        """
        for section in self._sections():
            yield None
            rows = self._sorted(section)
            yield None
            if not rows.num_rows:
                continue
            for some in self._division(rows):
                yield self._encode(some)

    def footer(self, facts: Mapping[str, str]) -> bytes:
        """The end of the file, over the new row groups alone."""
        named = {KEY_PREFIX + name: value for name, value in facts.items()}
        return footer(self._schema, self._metadata, named)

    def _sections(self) -> Iterator[pa.Table]:
        groups: list[pa.Table] = []
        size = 0
        for number in range(self._old.num_row_groups):
            group = self._kept(self._old.read_row_group(number, use_threads=False))
            if groups and size + group.nbytes > self._policy.section_bytes:
                yield pa.concat_tables(groups)
                groups, size = [], 0
            groups.append(group)
            size += group.nbytes
        if groups:
            yield pa.concat_tables(groups)

    def _kept(self, group: pa.Table) -> pa.Table:
        if self._without is None:
            return group
        mask = matching(group, self._without)
        self.rows_left_out += mask.true_count
        return group.filter(pc.invert(mask))

    def _sorted(self, section: pa.Table) -> pa.Table:
        rows = section.combine_chunks()
        if self._sort:
            keys = pa.table({name: stored(rows.column(name)) for name in self._sort})
            rows = rows.take(pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in self._sort]))
        return pa.Table.from_arrays(rows.columns, schema=self._schema)

    def _division(self, rows: pa.Table) -> Sequence[pa.Table]:
        """Parts of about the same size, each of which makes one row group."""
        parts = max(1, -int(-self._row_bytes() * rows.num_rows // (SPARE * self._files.row_group_bytes)))
        most = min(-(-rows.num_rows // parts), self._files.row_group_rows)
        return [rows.slice(start, most) for start in range(0, rows.num_rows, most)]

    def _row_bytes(self) -> float:
        """What a row takes: in the new row groups so far, or in the old ones."""
        if self.rows:
            return (self._end - self._begin) / self.rows
        return _encoded_bytes(self._old.metadata) / max(int(self._old.metadata.num_rows), 1)

    def _encode(self, rows: pa.Table) -> memoryview:
        group = encode_row_group(rows, self._kind, self._policy.layout, self._end, self._sort)
        self._metadata.append(group.metadata)
        self._end += group.size
        self.rows += rows.num_rows
        return group.data
