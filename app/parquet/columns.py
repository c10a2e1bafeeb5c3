"""The types of a file's columns, as they follow from annotations and ids_as.

The bytes are the same: only what the file says of them differs, and with `ids_as_binary` the physical type.
"""

from typing import Final

import pyarrow as pa

from app.kinds import ID_BYTES
from app.parquet.annotation import Annotation

TIMES: Final = ("timestamp", "batch_timestamp")
IDS: Final = ("device_id", "session_id")
PAYLOAD: Final = "payload"


def column_type(
    name: str, decoded: pa.DataType, annotations: frozenset[Annotation], *, ids_as_binary: bool
) -> pa.DataType:
    """What a column is in files, as Arrow has it; decoded: what it is in SCHEMAS."""
    if name in TIMES and Annotation.TIMESTAMPS in annotations:
        return pa.timestamp("ms", "UTC")
    if name in IDS and Annotation.IDS in annotations:
        return pa.uuid()
    if name in IDS and ids_as_binary:
        return pa.binary()
    if name == PAYLOAD and Annotation.PAYLOAD in annotations:
        return pa.json_(pa.string())
    return decoded


def as_column(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    """A decoded column as one of a file. No text is checked, and nothing is copied but ids of any length."""
    if column.type == type_:
        return column
    if isinstance(type_, pa.JsonType | pa.UuidType):
        stored = [chunk.view(type_.storage_type) for chunk in column.chunks]
        return pa.chunked_array([pa.ExtensionArray.from_storage(type_, chunk) for chunk in stored], type_)
    return column.cast(type_)


def as_decoded_column(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    """A file's column as it was decoded: `as_column` the other way."""
    if isinstance(column.type, pa.JsonType | pa.UuidType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if pa.types.is_string(column.type) and pa.types.is_binary(type_):
        return pa.chunked_array([chunk.view(type_) for chunk in column.chunks], type_)
    return column if column.type == type_ else column.cast(type_)


def as_fixed_ids(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of ids, whatever its type in the file, with ID_BYTES bytes each."""
    return as_decoded_column(ids, pa.binary(ID_BYTES))
