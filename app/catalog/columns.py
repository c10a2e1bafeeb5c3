"""The columns and the partitioning of a kind's table."""

from typing import Final

import pyarrow as pa
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform, TruncateTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DoubleType,
    FixedType,
    IcebergType,
    LongType,
    NestedField,
    StringType,
)

from app.kinds import ID_BYTES
from app.parquet.partition import DAY_MS

WORKSPACE: Final = "workspace_id"
RECEIVED: Final = "batch_timestamp"


def iceberg_type(type_: pa.DataType) -> IcebergType:
    """Raises ValueError for a type that files of this service do not have."""
    if type_ == pa.binary(ID_BYTES):
        return FixedType(ID_BYTES)
    if type_ == pa.int64():
        return LongType()
    if type_ == pa.float64():
        return DoubleType()
    if type_ == pa.bool_():
        return BooleanType()
    if type_ == pa.string():
        return StringType()
    if type_ == pa.binary():
        return BinaryType()
    raise ValueError(f"{type_} has no matching type in this service's Iceberg tables")


def iceberg_schema(schema: pa.Schema) -> Schema:
    """Ids count from 1, as every catalog assigns them to a new table."""
    return Schema(
        *(
            NestedField(number, field.name, iceberg_type(field.type), required=not field.nullable)
            for number, field in enumerate(schema, start=1)
        )
    )


def partition_spec(schema: Schema) -> PartitionSpec:
    """The partition of a data file: its workspace, and the day on which its rows were received.

    A day is a multiple of 86,400,000 ms: `truncate` computes it from a number, `day` only from a timestamp.
    """
    day: TruncateTransform[int] = TruncateTransform(DAY_MS)
    workspace = schema.find_field(WORKSPACE).field_id
    received = schema.find_field(RECEIVED).field_id
    return PartitionSpec(
        PartitionField(workspace, PARTITION_FIELD_ID_START, IdentityTransform(), WORKSPACE),
        PartitionField(received, PARTITION_FIELD_ID_START + 1, day, f"{RECEIVED}_day"),
    )
