"""Files as Arrow's data sets: opened by this process, wherever they are, and never by DuckDB."""

import os
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds

from app.kinds import Kind
from app.object_store.policy import StorePolicy
from app.object_store.url import Provider
from app.parquet.promotion import PromotedType, Promotion
from app.query.snapshot import CannotAsk
from app.schema import SCHEMAS

TRIES: Final = 3
"""Of one request to a store."""


def data_set(
    kind: Kind, names: Sequence[str], promotions: Sequence[Promotion], store: Any = None
) -> ds.Dataset:
    """store: pyarrow's file system of a bucket; None where the names are paths."""
    columns = {
        PromotedType.STRING: pa.string(),
        PromotedType.INTEGER: pa.int64(),
        PromotedType.DOUBLE: pa.float64(),
        PromotedType.BOOLEAN: pa.bool_(),
    }
    more = [pa.field(each.name, columns[each.type]) for each in promotions]
    schema = pa.schema([*SCHEMAS[kind], *more])
    return ds.dataset(list(names), schema=schema, format="parquet", filesystem=store)


def open_store(policy: StorePolicy) -> Any:
    """pyarrow's file system of a bucket. Credentials come from the environment. Raises CannotAsk."""
    from pyarrow import fs

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
    raise CannotAsk(f"{policy.url}: this command reads s3:// and gs://; ask as docs/queries.md says")


def object_root(policy: StorePolicy) -> str:
    """What the names of files stand below, as that file system names them."""
    return f"{policy.url.bucket}/{policy.url.prefix}".rstrip("/")
