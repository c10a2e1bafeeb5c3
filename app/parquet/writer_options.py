"""How each column is laid out in a file: dictionaries, encodings, statistics."""

from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa

from app.schema import SCHEMAS, Kind

CODECS: Final = MappingProxyType(
    {
        "snappy": "snappy",
        "gzip": "gzip",
        "lz4": "lz4",  # Arrow writes this as LZ4_RAW, the one that every engine reads
        "zstd": "zstd",
        "uncompressed": "none",
    }
)
"""Names in the configuration, and what Arrow calls them."""

DELTA_COLUMNS: Final = ("timestamp", "batch_timestamp")
PLAIN_COLUMNS: Final = ("device_id", "session_id", "payload")
"""Nearly every value differs: a dictionary would be built in vain, and a minimum tells nothing."""


def writer_options(kind: Kind, codec: str) -> dict[str, Any]:
    """Arguments of pyarrow.parquet.ParquetWriter besides file and schema. KeyError for an unknown codec."""
    names = SCHEMAS[kind].names
    measured = [name for name in names if name not in PLAIN_COLUMNS]
    return {
        "compression": CODECS[codec],
        "version": "2.6",
        "use_dictionary": [name for name in measured if name not in DELTA_COLUMNS],
        "column_encoding": dict.fromkeys(DELTA_COLUMNS, "DELTA_BINARY_PACKED"),
        "write_statistics": measured,
        "write_page_index": True,
        "write_page_checksum": True,
    }


def has_layout_of(schema: pa.Schema, kind: Kind) -> bool:
    """Whether row groups of this kind can be appended to a file with that schema."""
    return bool(schema.equals(SCHEMAS[kind], check_metadata=False))
