"""Brokers that are away: batches are refused and not lost, and everything goes on by itself."""

from pathlib import Path

import pytest

from tests.support.kafka_cluster import running_kafka
from tests.support.kafka_service import KafkaService
from tests.support.service import running

pytestmark = pytest.mark.heavy

EVENT = '{"type":"track","event":"a","device_id":"550e8400-e29b-41d4-a716-446655440000"}'


def test_a_broker_that_is_away_costs_a_refusal_and_no_restart(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    with running_kafka(tmp_path / "kafka") as cluster:
        service = KafkaService(tmp_path, {"journal": {"send_timeout": "1s"}}, cluster=cluster)
        with running(service):
            assert service.post("events", EVENT).status_code == 202
            cluster.brokers[0].kill9()

            unknown = service.post("events", EVENT, headers={"Idempotency-Key": "a"})
            refused = service.post("events", EVENT, headers={"Idempotency-Key": "b"})

            assert (unknown.status_code, unknown.json()["error"]) == (503, "outcome_unknown")
            assert (refused.status_code, refused.json()["error"]) == (503, "overloaded")
            assert "Kafka" in refused.json()["message"]
            assert int(unknown.headers["Retry-After"]) >= 1
            assert int(refused.headers["Retry-After"]) >= 1
            assert service.http.get("/ready").status_code == 503
            assert service.http.get("/health").status_code == 200

            cluster.brokers[0].start()
            service.wait_until(lambda: service.http.get("/ready").status_code == 200, 60)
            for key in ("a", "b"):
                answer = service.post("events", EVENT, headers={"Idempotency-Key": key})
                assert answer.status_code == 202, answer.text
            service.flush()
            assert service.table().num_rows == 3


def test_a_start_waits_for_kafka(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    with running_kafka(tmp_path / "kafka") as cluster, KafkaService(tmp_path, cluster=cluster) as service:
        cluster.brokers[0].kill9()
        service.launch()
        service.wait_until(lambda: "the start is waiting" in service.stderr, 30)
        cluster.brokers[0].start()
        service.wait_until(lambda: "ready: topic" in service.stderr, 60)
        assert service.post("events", EVENT).status_code == 202
        assert service.terminate() == 0, service.stderr
