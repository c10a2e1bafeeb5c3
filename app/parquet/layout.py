"""What the files of a sink look like: codec and columns."""

from collections import Counter
from types import MappingProxyType
from typing import Final

import msgspec
import pyarrow as pa

from app.kinds import Kind
from app.parquet.extraction import Extractor, arrow_type
from app.parquet.promotion import Promotion
from app.schema import SCHEMAS

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


_WORKSPACE: Final = SCHEMAS[Kind.EVENTS].get_field_index("workspace_id")
"""The same in all kinds."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """codec: a name of CODECS. level: of zstd or gzip; None for Arrow's own choice.

    payload_is_json: whether `payload` carries Parquet's JSON annotation; then every payload must be UTF-8.
    promotions: columns after `payload`, in this order.
    for_tables: files that never change, for tables whose formats have no unsigned numbers.
    """

    codec: str = "snappy"
    level: int | None = None
    payload_is_json: bool = False
    promotions: tuple[Promotion, ...] = ()
    for_tables: bool = False

    def schema(self, kind: Kind) -> pa.Schema:
        """The columns of this kind's files, as Arrow reads them."""
        schema = SCHEMAS[kind]
        if self.payload_is_json:
            payload = pa.field("payload", pa.json_(pa.string()), nullable=False)
            schema = schema.set(schema.get_field_index("payload"), payload)
        if self.for_tables:
            schema = schema.set(_WORKSPACE, pa.field("workspace_id", pa.int64(), nullable=False))
        for promotion in self.promoted(kind):
            schema = schema.append(pa.field(promotion.name, arrow_type(promotion)))
        return schema

    def promoted(self, kind: Kind) -> list[Promotion]:
        return [promotion for promotion in self.promotions if promotion.kind is kind]


class Arranger:
    """Brings rows as they were decoded into the columns of their files. For the writer thread alone."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._extractors = {kind: Extractor(layout.promoted(kind)) for kind in Kind}

    def arrange(self, rows: pa.Table, kind: Kind) -> tuple[pa.Table, Counter[str]]:
        """Rows with columns as layout.schema(kind), and by promoted column how many values did not fit.

        rows: columns as SCHEMAS[kind]. Text that is not UTF-8 stays what it is, for the encoder to find.
        """
        unfit: Counter[str] = Counter()
        payloads = rows.column("payload")
        columns = rows.columns
        if self._layout.for_tables:
            columns[_WORKSPACE] = columns[_WORKSPACE].cast(pa.int64())
        if self._layout.payload_is_json:
            columns[-1] = _as_json(payloads)
        if self._layout.promoted(kind):
            promoted, unfit = self._extractors[kind].extract(payloads)
            columns += promoted
        return pa.Table.from_arrays(columns, schema=self._layout.schema(kind)), unfit


def as_decoded(rows: pa.Table, kind: Kind) -> pa.Table:
    """Arranged rows with columns as SCHEMAS[kind] again."""
    columns = rows.columns[: len(SCHEMAS[kind])]
    columns[_WORKSPACE] = columns[_WORKSPACE].cast(pa.uint64())
    payload = rows.column("payload")
    if isinstance(payload.type, pa.JsonType):
        chunks = [chunk.storage.view(pa.binary()) for chunk in payload.chunks]
        columns[-1] = pa.chunked_array(chunks, pa.binary())
    return pa.Table.from_arrays(columns, schema=SCHEMAS[kind])


def _as_json(payloads: pa.ChunkedArray) -> pa.ChunkedArray:
    type_ = pa.json_(pa.string())
    chunks = [pa.ExtensionArray.from_storage(type_, chunk.view(pa.string())) for chunk in payloads.chunks]
    return pa.chunked_array(chunks, type_)
