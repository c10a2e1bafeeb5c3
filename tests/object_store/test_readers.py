"""Engines that read the bucket themselves, with a glob and nothing else."""

from collections.abc import Iterator

import chdb
import polars as pl
import pyarrow.dataset as ds
import pyarrow.fs
import pytest

from tests.support.bucket_service import BucketService
from tests.support.payloads import event
from tests.support.s3_server import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, S3Server
from tests.support.service import running

FLUSHES = 3
ROWS = 100


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[BucketService]:
    """Several objects in one partition, and one in another."""
    new = BucketService(tmp_path_factory.mktemp("service"), endpoint=s3_server.endpoint)
    with running(new) as service:
        for _ in range(FLUSHES):
            service.post_json("events", [event(number) for number in range(ROWS)], wait="file")
        service.post_json("events", [event(number) for number in range(ROWS)], workspace=2, wait="file")
        assert len(service.data_files("events")) >= FLUSHES + 1
        yield service


def test_polars(filled: BucketService, s3_server: S3Server) -> None:
    rows = pl.scan_parquet(
        f"s3://{BUCKET}/{filled.prefix}/1/*/events*.parquet",
        storage_options={
            "aws_endpoint_url": s3_server.endpoint,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "aws_region": REGION,
            "aws_allow_http": "true",
        },
    )
    assert rows.select(pl.len()).collect().item() == FLUSHES * ROWS


def test_pyarrow(filled: BucketService, s3_server: S3Server) -> None:
    store = pyarrow.fs.S3FileSystem(
        endpoint_override=s3_server.endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY, region=REGION
    )
    rows = ds.dataset(f"{BUCKET}/{filled.prefix}/1", filesystem=store, partitioning=None)
    assert rows.count_rows() == FLUSHES * ROWS


def test_clickhouse(filled: BucketService, s3_server: S3Server) -> None:
    source = f"{s3_server.endpoint}/{BUCKET}/{filled.prefix}/*/*/events*.parquet"
    question = f"SELECT count() FROM s3('{source}', '{ACCESS_KEY}', '{SECRET_KEY}', 'Parquet')"
    assert str(chdb.query(question)).strip() == str((FLUSHES + 1) * ROWS)
