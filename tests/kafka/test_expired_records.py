"""Records that Kafka has deleted before they were published: rows are lost, and that is said."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from app.kafka.topic import partition_of
from tests.support.kafka_cluster import KafkaCluster
from tests.support.kafka_service import KafkaService
from tests.support.service import KEYS, running

pytestmark = pytest.mark.heavy

EVENT = {"type": "track", "event": "bought", "device_id": "550e8400-e29b-41d4-a716-446655440000"}
CONFIG: dict[str, dict[str, Any]] = {"sinks.parquet": {"flush_interval": "2s"}}


def test_a_partition_stops_alone_for_lost_rows_and_goes_on_only_when_told_to(
    tmp_path: Path, kafka_cluster: KafkaCluster
) -> None:
    (tmp_path / "first").mkdir()
    with KafkaService(tmp_path / "first", CONFIG, cluster=kafka_cluster) as service:
        service.start()
        service.post_json("events", [EVENT] * 3)
        service.flush()
        service.post_json("events", [EVENT] * 5)
        service.kill9()
        partition = partition_of(1, 2)
        admin = AdminClient({"bootstrap.servers": kafka_cluster.addresses})
        for deleted in admin.delete_records([TopicPartition(service.topic, partition, 3)]).values():
            assert deleted.result(10).low_watermark == 3

        service.start()
        service.wait_until(lambda: "offsets 2 to 2" in str(service.status()["problem"]), 60)
        assert f"1 records of _commits/{service.topic}-{partition} (offsets 2 to 2)" in service.stderr
        assert "journal.accept_loss" in service.stderr
        other = next(each for each in KEYS if partition_of(each, 2) != partition)
        service.post_json("events", [EVENT] * 4, workspace=other)
        service.wait_until(lambda: service.table(workspace=other).num_rows == 4, 60)
        service.kill9()

    (tmp_path / "second").mkdir()
    told = {**CONFIG, "journal": {"accept_loss": True}}
    with running(
        KafkaService(
            tmp_path / "second", told, cluster=kafka_cluster, topic=service.topic, parquet=service.parquet
        )
    ) as going_on:
        going_on.post_json("events", [EVENT] * 7)
        going_on.flush()
        assert going_on.table(workspace=1).num_rows == 10
