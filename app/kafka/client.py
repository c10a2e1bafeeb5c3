"""confluent-kafka, made from a policy. It is imported in this package alone, and only when configured."""

import logging
from typing import TYPE_CHECKING, Any

from app.kafka.policy import KafkaPolicy

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Producer
    from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)


class KafkaMisconfigured(Exception):
    """No client can be made, or the topic cannot be used; the message says what to change."""


class KafkaUnavailable(OSError):
    """The brokers could not be asked, or did not do it; it may be tried again."""


def require_client() -> None:
    """Raises KafkaMisconfigured when the client library is not installed."""
    try:
        import confluent_kafka  # noqa: F401
    except ImportError as error:
        raise KafkaMisconfigured(
            'journal.type = "kafka" needs a client that is not installed: run pip install '
            "'parquet-sink[kafka]'"
        ) from error


def make_producer(policy: KafkaPolicy, message_bytes_max: int) -> "Producer":
    """One that repeats what fails without doubling it, and is told only of what all replicas in sync have."""
    from confluent_kafka import Producer

    return Producer(
        {
            **_common(policy),
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "message.max.bytes": message_bytes_max,
            "message.timeout.ms": int(policy.send_timeout_s * 1000),
            "queue.buffering.max.kbytes": max(policy.queue_bytes // 1024, 1),
        },
        logger=log,
    )


def make_reader(policy: KafkaPolicy) -> "Consumer":
    """A consumer of partitions that it is assigned by hand: it follows no group, and stores no offsets."""
    from confluent_kafka import Consumer

    return Consumer(
        {
            **_common(policy),
            "group.id": policy.consumer_group,  # the library wants one
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "check.crcs": True,
            "fetch.wait.max.ms": 100,
            "fetch.error.backoff.ms": 100,
            "queued.max.messages.kbytes": max(policy.fetch_bytes // 1024, 1),
        },
        logger=log,
    )


def make_member(policy: KafkaPolicy) -> "Consumer":
    """A member of the writers' group: it is told which partitions are its own, and reads none."""
    from confluent_kafka import Consumer

    return Consumer(
        {
            **_common(policy),
            "group.id": policy.consumer_group,
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(policy.session_timeout_s * 1000),
            "heartbeat.interval.ms": int(policy.session_timeout_s * 1000 / 4),
        },
        logger=log,
    )


def make_admin(policy: KafkaPolicy) -> "AdminClient":
    from confluent_kafka.admin import AdminClient

    return AdminClient(_common(policy), logger=log)


def _common(policy: KafkaPolicy) -> dict[str, Any]:
    return {
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 1000,
        "topic.metadata.refresh.interval.ms": 30_000,
        "log.connection.close": False,
        **policy.properties,
        "bootstrap.servers": policy.brokers,
    }
