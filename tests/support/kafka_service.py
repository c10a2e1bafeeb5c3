"""The service with Kafka as its journal, on a topic of its own; files in a directory."""

import uuid
from pathlib import Path
from typing import Any

from tests.support.kafka_cluster import KafkaCluster
from tests.support.service import Config, Service


class KafkaService(Service):
    """cluster: its topic is made there. topic, parquet: those of another service, to work beside it."""

    def __init__(
        self,
        directory: Path,
        config: Config | None = None,
        clock: str | None = None,
        *,
        cluster: KafkaCluster,
        topic: str | None = None,
        parquet: Path | None = None,
    ) -> None:
        self.cluster = cluster
        self.topic = topic or cluster.make_topic(f"rows-{uuid.uuid4()}")
        sections: dict[str, dict[str, Any]] = {name: dict(values) for name, values in (config or {}).items()}
        journal = {
            "type": "kafka",
            "brokers": cluster.addresses,
            "topic": self.topic,
            "session_timeout": "2s",
        }
        sections["journal"] = {**journal, **sections.get("journal", {})}
        if parquet is not None:
            sections.setdefault("sinks.parquet", {})["path"] = str(parquet)
        super().__init__(directory, sections, clock)
        if parquet is not None:
            self.parquet = parquet
