"""What the files of a sink look like: codec and columns."""

from collections import Counter
from types import MappingProxyType
from typing import Final

import msgspec
import pyarrow as pa

from app.kinds import Kind
from app.parquet.annotation import Annotation
from app.parquet.columns import as_column, as_decoded_column, column_type
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
"""Names in the configuration, and Arrow's names for them."""


_WORKSPACE: Final = SCHEMAS[Kind.EVENTS].get_field_index("workspace_id")
"""Columns that all kinds have."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """codec: a name of CODECS. level: of zstd or gzip; None for Arrow's own choice.

    annotations: logical types that columns carry; with PAYLOAD every payload must be UTF-8.
    ids_as_binary: device and session ids are BYTE_ARRAY; then they carry no annotation.
    promotions: columns after `payload`, in this order.
    for_tables: files that never change, for tables whose formats have no unsigned numbers.
    """

    codec: str = "snappy"
    level: int | None = None
    annotations: frozenset[Annotation] = frozenset()
    ids_as_binary: bool = False
    promotions: tuple[Promotion, ...] = ()
    for_tables: bool = False

    def schema(self, kind: Kind) -> pa.Schema:
        """The columns of this kind's files, as Arrow reads them."""
        schema = pa.schema(
            [
                field.with_type(
                    column_type(field.name, field.type, self.annotations, ids_as_binary=self.ids_as_binary)
                )
                for field in SCHEMAS[kind]
            ]
        )
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
        schema = self._layout.schema(kind)
        columns = [as_column(column, schema.field(at).type) for at, column in enumerate(rows.columns)]
        if self._layout.promoted(kind):
            promoted, unfit = self._extractors[kind].extract(rows.column("payload"))
            columns += promoted
        return pa.Table.from_arrays(columns, schema=schema), unfit


def as_decoded(rows: pa.Table, kind: Kind) -> pa.Table:
    """Arranged rows with columns as SCHEMAS[kind] again."""
    schema = SCHEMAS[kind]
    columns = [as_decoded_column(rows.column(at), field.type) for at, field in enumerate(schema)]
    return pa.Table.from_arrays(columns, schema=schema)
