"""Kafka as the journal: one real broker."""

import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.support.kafka_cluster import KafkaCluster
from tests.support.kafka_service import KafkaService
from tests.support.service import running

pytestmark = pytest.mark.heavy

EVENT = {"type": "track", "event": "bought", "device_id": "550e8400-e29b-41d4-a716-446655440000"}


@pytest.fixture
def service(tmp_path: Path, kafka_cluster: KafkaCluster) -> KafkaService:
    return KafkaService(tmp_path, cluster=kafka_cluster)


def test_rows_are_in_files_after_a_flush(service: KafkaService) -> None:
    with running(service):
        for workspace in (1, 2, 3):
            service.post_json("events", [EVENT] * 5, workspace=workspace)
        flushed = service.flush()

        assert flushed["flushed_rows"] == 15
        assert service.table().num_rows == 15
        assert sorted(file["path"] for file in flushed["files"]) == sorted(
            file["path"] for file in service.files()
        )
        assert {len(service.data_files("events", workspace)) for workspace in (1, 2, 3)} == {1}


def test_an_orderly_stop_publishes_what_was_acknowledged(service: KafkaService) -> None:
    with running(service):
        service.post_json("events", [EVENT] * 5)

    assert service.table().num_rows == 5


def test_what_was_acknowledged_survives_a_kill(service: KafkaService) -> None:
    with running(service):
        service.post_json("events", [EVENT] * 5)
        service.kill9()
        service.start()
        service.flush()

        assert service.table().num_rows == 5


def test_a_batch_that_two_front_ends_take_is_published_once(
    service: KafkaService, tmp_path: Path, kafka_cluster: KafkaCluster
) -> None:
    (tmp_path / "other").mkdir()
    config = {"server": {"role": "ingest"}}
    other = KafkaService(
        tmp_path / "other", config, cluster=kafka_cluster, topic=service.topic, parquet=service.parquet
    )
    body = '{"type":"track","event":"a","device_id":"550e8400-e29b-41d4-a716-446655440000"}'
    with running(service), running(other):
        answers = [each.post("events", body, headers={"Idempotency-Key": "a"}) for each in (service, other)]
        again = other.post("events", body, headers={"Idempotency-Key": "a"})
        service.flush()

        assert [answer.status_code for answer in answers] == [202, 202]
        assert again.json()["duplicate"] is True
        assert service.table().num_rows == 1


def test_a_batch_that_fits_no_record_is_refused_and_the_others_are_taken(
    tmp_path: Path, kafka_cluster: KafkaCluster
) -> None:
    topic = kafka_cluster.make_topic("small-records", max_message_bytes="20000")
    service = KafkaService(tmp_path, cluster=kafka_cluster, topic=topic)
    large = {**EVENT, "properties": {"text": "".join(f"{number:x}" for number in range(20_000))}}
    with running(service):
        refused = service.post("events", service_json(large))
        for _ in range(3):
            service.post_json("events", [EVENT] * 200)
        service.flush()

        assert refused.status_code == 413
        assert "max.message.bytes" in refused.json()["message"]
        assert service.table().num_rows == 600


def test_a_record_of_somebody_else_is_kept_and_the_partition_goes_on(service: KafkaService) -> None:
    with running(service):
        producer = Producer({"bootstrap.servers": service.cluster.addresses})
        for partition in range(2):
            producer.produce(service.topic, b'{"not": "ours"}', partition=partition)
        assert producer.flush(30) == 0
        service.post_json("events", [EVENT] * 5)
        service.flush()
        assert service.table().num_rows == 5

        def kept() -> list[dict[str, object]]:
            return [record for each in service.status()["partitions"] for record in each["foreign_records"]]

        service.wait_until(lambda: len(kept()) == 2, 60)
        for record in kept():
            assert (service.parquet / str(record["path"])).read_bytes() == b'{"not": "ours"}'
        assert service.metrics()["parquet_sink_kafka_foreign_records_total"] == 2
        service.kill9()
        service.start()
        service.post_json("events", [EVENT] * 5)
        service.flush()
        assert service.table().num_rows == 10
        assert len(kept()) == 2


def test_a_writer_takes_no_batches(tmp_path: Path, kafka_cluster: KafkaCluster) -> None:
    service = KafkaService(tmp_path, {"server": {"role": "writer"}}, cluster=kafka_cluster)
    with running(service):
        assert service.post("events", service_json(EVENT)).status_code == 404
        assert service.status()["role"] == "writer"
        assert "parquet_sink_kafka_lag" in service.metrics()


def test_a_place_belongs_to_one_topic(tmp_path: Path, kafka_cluster: KafkaCluster) -> None:
    first = KafkaService(tmp_path, cluster=kafka_cluster)
    with running(first):
        first.post_json("events", [EVENT])
    (tmp_path / "other").mkdir()
    with KafkaService(tmp_path / "other", cluster=kafka_cluster, parquet=first.parquet) as second:
        assert second.launch().wait(30) != 0
        assert f"belongs to topic {first.topic}" in second.stderr


def service_json(row: dict[str, object]) -> str:
    import json

    return json.dumps(row)


def test_the_topic_is_made_by_a_command_and_looked_at_by_another(
    tmp_path: Path, kafka_cluster: KafkaCluster
) -> None:
    file = tmp_path / "sink.toml"
    file.write_text(
        f'[journal]\ntype = "kafka"\nbrokers = "{kafka_cluster.addresses}"\ntopic = "made-{tmp_path.name}"\n'
        f'path = "{tmp_path}/j"\n[sinks.p]\ntype = "parquet"\npath = "{tmp_path}/lake"\n'
    )

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "app.cli", *arguments, "--config", str(file)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    before = run("check-config", "--connect")
    assert before.returncode == 1
    assert "parquet-sink kafka-topic creates it" in before.stderr
    made = run("kafka-topic", "--partitions", "3", "--replicas", "1")
    assert "3 partitions, created" in made.stdout, made.stderr
    again = run("kafka-topic", "--partitions", "3", "--replicas", "1")
    assert "3 partitions, already there" in again.stdout
    assert "after a 202 a batch may be on a single broker" in again.stderr
