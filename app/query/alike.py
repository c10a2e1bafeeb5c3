"""Files divided by what their footers say of their columns.

Annotations and promoted columns may be configured anew at any time, and no engine reads a column of two types
as one: files that are alike are read together, and what is made of their columns is put together.
"""

from collections.abc import Iterable

import msgspec
import pyarrow.parquet as pq


class Alike(msgspec.Struct, frozen=True):
    """Files with columns of the same names and types, in the same order. names: to open them by."""

    schema: pq.ParquetSchema
    names: list[str]

    @property
    def columns(self) -> list[str]:
        return [self.schema.column(number).path for number in range(len(self.schema))]


def alike(names: Iterable[str]) -> list[Alike]:
    """Reads each file's footer, which takes 0.1 ms. Raises OSError, pa.ArrowException."""
    found: list[Alike] = []
    for name in names:
        schema = pq.read_metadata(name).schema
        for group in found:
            if group.schema.equals(schema):
                group.names.append(name)
                break
        else:
            found.append(Alike(schema, [name]))
    return found
