"""Kafka as the journal, files and publication logs in a bucket: no process keeps anything."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.kafka_cluster import KafkaCluster
from tests.support.kafka_service import KafkaService
from tests.support.s3_server import BUCKET, REGION, S3Server
from tests.support.service import running

pytestmark = pytest.mark.heavy

EVENT = {"type": "track", "event": "bought", "device_id": "550e8400-e29b-41d4-a716-446655440000"}


def rows_by_http(service: KafkaService) -> int:
    """As a client without access to the bucket gets them."""
    files = [service.admin("GET", f"/files/{file['path']}") for file in service.files()]
    assert {answer.status_code for answer in files} <= {200}
    return sum(pq.read_table(pa.BufferReader(io.BytesIO(answer.content).read())).num_rows for answer in files)


def test_front_end_and_writer_share_nothing_but_the_topic_and_the_bucket(
    tmp_path: Path, kafka_cluster: KafkaCluster, s3_server: S3Server
) -> None:
    place = {
        "sinks.parquet": {"path": f"s3://{BUCKET}/kafka", "flush_interval": "3600s"},
        "sinks.parquet.store": {"endpoint": s3_server.endpoint, "region": REGION},
    }
    (tmp_path / "front").mkdir()
    (tmp_path / "writer").mkdir()
    front = KafkaService(tmp_path / "front", {**place, "server": {"role": "ingest"}}, cluster=kafka_cluster)
    writer = KafkaService(
        tmp_path / "writer",
        {**place, "server": {"role": "writer"}},
        cluster=kafka_cluster,
        topic=front.topic,
    )
    with running(front), running(writer):
        for workspace in (1, 2, 3):
            front.post_json("events", [EVENT] * 5, workspace=workspace)
        assert front.flush()["flushed_rows"] == 15
        assert rows_by_http(front) == 15

        front.post_json("events", [EVENT] * 5)
        writer.kill9()
        writer.start()
        front.post_json("events", [EVENT] * 2, wait="file")
        assert rows_by_http(front) == 22
        assert rows_by_http(writer) == 22
    assert not (front.parquet.exists())
    assert not (writer.parquet.exists())
    assert not (front.journal.exists())
    assert not (writer.journal.exists())
