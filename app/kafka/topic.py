"""What the journal needs of its topic, looked at when the service starts and while it runs."""

import time
import zlib

import msgspec

from app.kafka.client import KafkaUnavailable, make_admin
from app.kafka.policy import FRAME_MARGIN_BYTES, KafkaPolicy

RETENTION_MS_MIN = 24 * 3_600_000
ASK_TIMEOUT_S = 5.0
PATIENCE_S = 20.0
LOOK_AGAIN_S = 0.5


class Topic(msgspec.Struct, frozen=True):
    """identity: Kafka's own id of it: another topic of the same name has another one.

    partitions: their number. message_bytes_max: of one batch of records. warnings: in words.
    """

    identity: str
    partitions: int
    message_bytes_max: int
    warnings: list[str]

    @property
    def frame_bytes_max(self) -> int:
        return self.message_bytes_max - FRAME_MARGIN_BYTES

    def partition_of(self, workspace_id: int) -> int:
        return partition_of(workspace_id, self.partitions)


def partition_of(workspace_id: int, partitions: int) -> int:
    """The partition of a workspace's batches; the same on every front end and in every version."""
    return zlib.crc32(workspace_id.to_bytes(8, "little")) % partitions


def look_at(policy: KafkaPolicy, *, patient: bool = False) -> Topic:
    """Raises KafkaUnavailable while the brokers do not answer or the topic is not there.

    patient: it was made just now, and not every broker may know it yet.
    """
    deadline = time.monotonic() + (PATIENCE_S if patient else 0.0)
    while True:
        try:
            return _look_at(policy)
        except KafkaUnavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(LOOK_AGAIN_S)


def _look_at(policy: KafkaPolicy) -> Topic:
    from confluent_kafka import KafkaException, TopicCollection
    from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

    admin = make_admin(policy)
    try:
        described = admin.describe_topics(TopicCollection([policy.topic]), request_timeout=ASK_TIMEOUT_S)
        topic = described[policy.topic].result(ASK_TIMEOUT_S)
        resource = ConfigResource(ConfigResource.Type.TOPIC, policy.topic)
        asked = admin.describe_configs([resource], request_timeout=ASK_TIMEOUT_S)
        settings = {name: each.value for name, each in asked[resource].result(ASK_TIMEOUT_S).items()}
    except (KafkaException, TimeoutError) as error:
        raise KafkaUnavailable(f"topic {policy.topic} at {policy.brokers}: {error}") from None
    replicas = min(len(each.replicas) for each in topic.partitions)
    return Topic(
        identity=str(topic.topic_id),
        partitions=len(topic.partitions),
        message_bytes_max=int(settings["max.message.bytes"]),
        warnings=_warnings(policy.topic, settings, replicas),
    )


def make_topic(policy: KafkaPolicy, partitions: int, replicas: int) -> bool:
    """Make the topic as the journal wants it; False where it is there. Raises
    KafkaUnavailable."""
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

    settings = {
        "cleanup.policy": "delete",
        "retention.ms": str(7 * 86_400_000),
        "max.message.bytes": str(16 << 20),
        "min.insync.replicas": str(2 if replicas > 2 else 1),
        "unclean.leader.election.enable": "false",
    }
    topic = NewTopic(policy.topic, num_partitions=partitions, replication_factor=replicas, config=settings)
    try:
        admin = make_admin(policy)
        made = admin.create_topics([topic], request_timeout=ASK_TIMEOUT_S)
        made[policy.topic].result(2 * ASK_TIMEOUT_S)
    except TimeoutError as error:
        raise KafkaUnavailable(f"topic {policy.topic} at {policy.brokers}: {error}") from None
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise KafkaUnavailable(f"topic {policy.topic} at {policy.brokers}: {error}") from None
    return True


def _warnings(name: str, settings: dict[str, str], replicas: int) -> list[str]:
    found = []
    in_sync = int(settings["min.insync.replicas"])
    if in_sync < 2:
        found.append(
            f"topic {name} has {replicas} replicas and min.insync.replicas = {in_sync}: after a 202 a batch "
            "may be on a single broker; use replication factor 3 and min.insync.replicas = 2"
        )
    if settings.get("unclean.leader.election.enable") == "true":
        found.append(f"topic {name} has unclean.leader.election.enable = true: acknowledged rows can vanish")
    if settings["cleanup.policy"] != "delete":
        found.append(
            f"topic {name} has cleanup.policy = {settings['cleanup.policy']}: rows can vanish; use delete"
        )
    retention_ms, retention_bytes = int(settings["retention.ms"]), int(settings["retention.bytes"])
    if 0 <= retention_ms < RETENTION_MS_MIN:
        found.append(
            f"topic {name} has retention.ms = {retention_ms}: rows that are not in files by then are lost"
        )
    if retention_bytes >= 0:
        found.append(
            f"topic {name} has retention.bytes = {retention_bytes}: older rows are deleted, published or not"
        )
    return found
