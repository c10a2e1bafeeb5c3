"""Files as Arrow data sets: opened by this process, wherever they are, and never by DuckDB."""

import datetime
import os
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from app.kinds import Kind
from app.object_store.policy import StorePolicy
from app.object_store.url import Provider
from app.parquet.promotion import PromotedType, Promotion
from app.query.snapshot import CannotAsk, SnapshotFile
from app.query.views import DATE_COLUMN
from app.schema import SCHEMAS

TRIES: Final = 3
"""The time limit of one request to a store."""


def data_set(
    kind: Kind, files: Sequence[SnapshotFile], promotions: Sequence[Promotion], store: Any = None
) -> ds.Dataset:
    """The rows of these files, with DATE_COLUMN if all files have a date. Files of other workspaces or dates
    are not opened.

    store: pyarrow's file system of a bucket; None where the names are paths.
    """
    columns = {
        PromotedType.STRING: pa.string(),
        PromotedType.INTEGER: pa.int64(),
        PromotedType.DOUBLE: pa.float64(),
        PromotedType.BOOLEAN: pa.bool_(),
    }
    more = [pa.field(each.name, columns[each.type]) for each in promotions]
    dated = [pa.field(DATE_COLUMN, pa.date32())] if all(file.date is not None for file in files) else []
    schema = pa.schema([*SCHEMAS[kind], *more, *dated])
    parquet, where = ds.ParquetFileFormat(), store or fs.LocalFileSystem()
    fragments = [
        parquet.make_fragment(
            file.name,
            filesystem=where,
            partition_expression=_what_all_rows_have(file),
        )
        for file in files
    ]
    return ds.FileSystemDataset(fragments, schema, parquet, where)


def _what_all_rows_have(file: SnapshotFile) -> ds.Expression:
    workspace = ds.field("workspace_id") == pa.scalar(file.workspace_id, pa.uint64())
    if file.date is None:
        return workspace
    return workspace & (ds.field(DATE_COLUMN) == datetime.date.fromisoformat(file.date))


def open_store(policy: StorePolicy) -> Any:
    """pyarrow's file system of a bucket. Credentials come from the environment. Raises CannotAsk."""
    try:
        if policy.url.provider is Provider.S3:
            return fs.S3FileSystem(
                endpoint_override=policy.endpoint or os.environ.get("AWS_ENDPOINT_URL"),
                region=policy.region or os.environ.get("AWS_REGION"),
                force_virtual_addressing=policy.virtual_hosted,
                request_timeout=policy.request_timeout_s,
                connect_timeout=policy.connect_timeout_s,
                retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=TRIES),
            )
        if policy.url.provider is Provider.GOOGLE:
            return fs.GcsFileSystem()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CannotAsk(f"{policy.url}: {error}") from None
    raise CannotAsk(
        f"{policy.url}: this command reads only s3:// and gs://; see docs/queries.md for other stores"
    )


def object_root(policy: StorePolicy) -> str:
    """The root of the file names, as that file system names it."""
    return f"{policy.url.bucket}/{policy.url.prefix}".rstrip("/")
