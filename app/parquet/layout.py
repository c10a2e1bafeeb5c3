"""What the files of a sink look like: codec and columns."""

from types import MappingProxyType
from typing import Final

import msgspec
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


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """codec: a name of CODECS. level: of zstd or gzip; None for Arrow's own choice."""

    codec: str = "snappy"
    level: int | None = None

    def schema(self, kind: Kind) -> pa.Schema:
        """The columns of this kind's files, as Arrow reads them."""
        return SCHEMAS[kind]
