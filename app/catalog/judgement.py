"""Decides whether a file fits a table, by the file's own footer and not by the current configuration."""

from collections.abc import Mapping

import msgspec
import pyarrow.parquet as pq
from pyiceberg.schema import Schema
from pyiceberg.types import IcebergType

from app.catalog.columns import iceberg_type
from app.kinds import Kind


class UnfitFile(msgspec.Struct, frozen=True):
    """A published file that is not in its table, and why. path: below the sink's path."""

    path: str
    kind: Kind
    reason: str


class Judgement(msgspec.Struct, frozen=True):
    """reason: why the file does not fit, or None. missing: columns that must be added to the table for it."""

    reason: str | None = None
    missing: Mapping[str, IcebergType] = {}


def judge(footer: pq.FileMetaData, columns: Mapping[str, IcebergType], schema: Schema) -> Judgement:
    """columns: those of the table, including ones added for previous files. schema: the table's current
    schema."""
    found = footer.schema.to_arrow_schema()
    missing = {}
    for field in found:
        try:
            type_ = iceberg_type(field.type)
        except ValueError as error:
            return Judgement(f"column {field.name}: {error}")
        known = columns.get(field.name)
        if known is None:
            missing[field.name] = type_
        elif known != type_:
            return Judgement(
                f"column {field.name} is {type_} in the file and {known} in the table; its rows can be read "
                "from the file, and new rows go to a column of another name"
            )
    for column in schema.fields:
        if column.required and column.name not in found.names:
            return Judgement(f"the file has no column {column.name}, which the table requires")
    return Judgement(missing=missing)
