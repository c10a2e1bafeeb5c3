"""A writer that sleeps until the group has given its partitions away, and wakes up."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.kafka_cluster import KafkaCluster
from tests.support.kafka_service import KafkaService
from tests.support.service import running

pytestmark = pytest.mark.heavy

EVENT = {"type": "track", "event": "bought", "device_id": "550e8400-e29b-41d4-a716-446655440000"}


def test_a_writer_that_slept_doubles_nothing_and_goes_on(tmp_path: Path, kafka_cluster: KafkaCluster) -> None:
    config: dict[str, dict[str, Any]] = {"sinks.parquet": {"flush_interval": "100ms"}}
    (tmp_path / "other").mkdir()
    sleeper = KafkaService(tmp_path, config, cluster=kafka_cluster)
    shared = {"cluster": kafka_cluster, "topic": sleeper.topic, "parquet": sleeper.parquet}
    other = KafkaService(tmp_path / "other", config, **shared)
    rows = 0
    with running(sleeper), running(other):
        other.wait_until(lambda: len(sleeper.status()["writing"]) == len(other.status()["writing"]) == 1, 30)
        for _ in range(3):
            for workspace in (1, 2, 3):
                rows += other.post_json("events", [EVENT] * 5, workspace=workspace)
            sleeper.process.send_signal(signal.SIGSTOP)
            other.wait_until(lambda: len(other.status()["writing"]) == 2, 30)
            for workspace in (1, 2, 3):
                rows += other.post_json("events", [EVENT] * 5, workspace=workspace)
            other.flush()
            sleeper.process.send_signal(signal.SIGCONT)
            sleeper.wait_until(lambda: len(sleeper.status()["writing"]) == 1, 30)
        other.flush()

        assert sleeper.table().num_rows == rows
