"""How each column of a row group is written: dictionaries, encodings, statistics, filters.

The reason for each choice, with figures, stands in docs/files.md.
"""

from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa

from app.kinds import Kind
from app.parquet.columns import IDS, TIMES, as_fixed_ids
from app.parquet.layout import CODECS, Layout
from app.parquet.promotion import PromotedType
from app.schema import SCHEMAS

DEFAULT_LEVELS: Final = MappingProxyType({"gzip": 6, "zstd": 1})
"""Levels to use if the configuration gives none."""

NAME_COLUMNS: Final = (
    "workspace_id", "event_type", "event_name", "level", "source", "service", "entity", "source_ip",
)  # fmt: skip
MEASURED_COLUMNS: Final = ("timestamp", "batch_timestamp", "workspace_id", "event_type", "level")
"""Columns with minimum and maximum statistics: short values that queries compare. Every footer repeats
them."""

PAGE_ROWS_MAX: Final = 1_000_000
"""Pages end at 1 MB, not at pyarrow's default of 20,000 rows, which makes DuckDB's scans of short columns
slower."""

PAGE_INDEX_BYTES_MIN: Final = 2 << 20
"""In bytes of rows in memory. With less, every column is a single page and needs no index."""

DICTIONARY_ROWS_MIN: Final = 32
"""With fewer rows, a dictionary page is larger than what it saves."""

ID_REPEATS_MIN: Final = 2.0
"""How often an id must occur, on average, for a dictionary to be smaller than the plain ids."""

BLOOM_ROWS_MIN: Final = 4096
"""Smaller row groups are read faster than a filter is checked."""

BLOOM_VALUES_MAX: Final = 400_000
"""With more distinct ids in a row group, a filter would be larger than 512 KiB, and is left out."""

BLOOM_FALSE_POSITIVES: Final = 0.01

SORTED_ROWS_MAX: Final = 1024
"""Up to this many ids are counted by sorting them."""

_COUNTING_BITS_MAX: Final = 20
_COUNTING_BITS_PER_ROW: Final = 16


def writer_options(rows: pa.Table, kind: Kind, layout: Layout) -> dict[str, Any]:
    """Arguments of pyarrow.parquet.ParquetWriter, besides file and schema, for a row group of these rows.

    KeyError for an unknown codec.
    """
    count = rows.num_rows
    names = SCHEMAS[kind].names
    distinct = {name: distinct_values(as_fixed_ids(rows.column(name))) for name in IDS if name in names}
    dictionaries = [name for name in names if name in NAME_COLUMNS]
    dictionaries += [name for name, values in distinct.items() if count >= ID_REPEATS_MIN * values > 0]
    promoted = layout.promoted(kind)
    dictionaries += [each.name for each in promoted if each.type is not PromotedType.BOOLEAN]
    measured = [name for name in names if name in MEASURED_COLUMNS]
    measured += [each.name for each in promoted if each.type is not PromotedType.STRING]
    blooms = {
        name: {"ndv": values, "fpp": BLOOM_FALSE_POSITIVES}
        for name, values in distinct.items()
        if 0 < values <= BLOOM_VALUES_MAX and count >= BLOOM_ROWS_MIN
    }
    return {
        "compression": CODECS[layout.codec],
        "compression_level": layout.level or DEFAULT_LEVELS.get(layout.codec),
        "version": "2.6",
        "store_schema": False,
        "use_dictionary": dictionaries if count >= DICTIONARY_ROWS_MIN else False,
        "column_encoding": dict.fromkeys(TIMES, "DELTA_BINARY_PACKED"),
        "write_statistics": measured,
        "max_rows_per_page": PAGE_ROWS_MAX,
        "write_page_index": rows.nbytes >= PAGE_INDEX_BYTES_MIN,
        "write_page_checksum": True,
        "bloom_filter_options": blooms or None,
    }


def distinct_values(ids: pa.ChunkedArray) -> int:
    """About how many different values a column of 16-byte ids has; 0 where all are null.

    Few are sorted; of many, each value sets one bit of 16 a row, at most 2**20, and the bits tell (linear
    counting): at most some 14 million.
    """
    nothing = np.zeros(0, np.uint64)
    mixed = np.concatenate([nothing, *(_mixed(_halves(chunk.drop_null())) for chunk in ids.chunks)])
    if mixed.size <= SORTED_ROWS_MAX:
        return int(np.unique(mixed).size)
    bits = min((_COUNTING_BITS_PER_ROW * mixed.size).bit_length(), _COUNTING_BITS_MAX)
    seen = np.zeros(1 << bits, np.bool_)
    seen[mixed >> np.uint64(64 - bits)] = True
    unset = seen.size - int(np.count_nonzero(seen))
    return max(1, round(seen.size * float(np.log(seen.size / max(unset, 1)))))


def _mixed(raw: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each row of two numbers."""
    return (raw[:, 0] ^ (raw[:, 1] * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xD6E8FEB86659FD93)


def _halves(ids: pa.FixedSizeBinaryArray) -> np.ndarray:
    """Ids without nulls as rows of two 64-bit numbers."""
    values = ids.buffers()[1]
    if values is None or not len(ids):
        return np.zeros((0, 2), np.uint64)
    return np.frombuffer(values, np.uint64, count=2 * len(ids), offset=16 * ids.offset).reshape(-1, 2)
