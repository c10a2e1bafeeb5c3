"""The part of the configuration that is about Kafka as the journal."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ByteSize, Field

from app.kafka.policy import KafkaPolicy
from app.settings.quantities import AtLeast, DurationText, parse_duration, parse_size


class KafkaSettings(BaseModel):
    """Keys of `[journal]` that take effect with `type = "kafka"`."""

    type: Literal["local", "kafka"] = Field(
        default="local", description="local: a directory on this node; kafka: a replicated topic"
    )
    brokers: str | None = Field(
        default=None, min_length=1, description='kafka: bootstrap servers, "host:port,host:port"'
    )
    topic: str | None = Field(
        default=None, pattern="^[A-Za-z0-9._-]{1,200}$", description="kafka: the topic, which must exist"
    )
    group: str = Field(
        default="parquet-sink", min_length=1, description="kafka: consumer group of the writers"
    )
    send_timeout: Annotated[float, DurationText("100ms")] = Field(
        default=parse_duration("10s"),
        description="kafka: how long to wait until a group is replicated; after that its outcome is unknown",
    )
    session_timeout: Annotated[float, DurationText("1s")] = Field(
        default=parse_duration("10s"),
        description="kafka: a writer that sends no heartbeat for this long loses its partitions to other "
        "writers",
    )
    fetch_size: Annotated[ByteSize, AtLeast("64KB")] = Field(
        default=parse_size("16MB"),
        description="kafka: bytes of records read ahead, for each partition of a writer",
    )
    properties_file: Path | None = Field(
        default=None,
        description="kafka: file of `name=value` lines for librdkafka, such as security.protocol",
    )
    accept_loss: bool = Field(
        default=False, description="kafka: continue even if records have expired before they were published"
    )

    def kafka_policy(self, queue_bytes: int) -> KafkaPolicy:
        """queue_bytes: how much may wait to be sent. Raises OSError, ValueError for the properties file."""
        return KafkaPolicy(
            brokers=self.brokers or "",
            topic=self.topic or "",
            consumer_group=self.group,
            send_timeout_s=self.send_timeout,
            queue_bytes=queue_bytes,
            fetch_bytes=int(self.fetch_size),
            session_timeout_s=self.session_timeout,
            accept_loss=self.accept_loss,
            properties=_properties(self.properties_file) if self.properties_file else {},
        )


def _properties(file: Path) -> dict[str, str]:
    found = {}
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{file}, line {number}: write `name=value`")
        found[name.strip()] = value.strip()
    return found
