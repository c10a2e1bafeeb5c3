"""Records to Kafka: sent, and waited for until all replicas in sync have them."""

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from app.kafka.client import KafkaUnavailable, make_producer
from app.kafka.policy import KafkaPolicy
from app.kafka.record import FLUSH, TYPE_HEADER
from app.kafka.record_layout import Outgoing

if TYPE_CHECKING:
    from confluent_kafka import Producer

REPORT_GRACE_S: Final = 2.0
"""Extra time for the client library's reports, which come within its timeout."""

POLL_S: Final = 0.05


class NotReplicated(KafkaUnavailable):
    """Not every record is known to be replicated; those that are not reported may be, or not."""


class RecordSender:
    """Sends groups of records. Safe from several threads.

    Contract: `send` returns when the delivery report of every record has come without an error, which Kafka
    gives with acks=all after min.insync.replicas replicas have it.
    """

    def __init__(self, policy: KafkaPolicy, message_bytes_max: int) -> None:
        self._policy = policy
        self._message_bytes_max = message_bytes_max
        self._lock = threading.Lock()
        self._producer: Producer = make_producer(policy, message_bytes_max)

    def send(self, records: Sequence[Outgoing]) -> list[int]:
        """The offsets, aligned with `records`. Raises NotReplicated."""
        return self._send([(each.partition, each.value, None) for each in records])

    def ask_to_publish(self, partitions: Sequence[int]) -> list[int]:
        """Sends a record that asks the writer of each partition to publish; returns their offsets."""
        return self._send([(partition, b"", [(TYPE_HEADER, FLUSH)]) for partition in partitions])

    def _send(self, records: Sequence[tuple[int, bytes, Any]]) -> list[int]:
        from confluent_kafka import KafkaException

        reports: dict[int, int] = {}
        failures: list[str] = []
        producer = self._producer
        deadline = time.monotonic() + self._policy.send_timeout_s + REPORT_GRACE_S

        def reported(index: int, error: Any, message: Any) -> None:
            if error is not None:
                failures.append(str(error))
            reports[index] = -1 if error is not None else message.offset()

        try:
            for index, (partition, value, headers) in enumerate(records):
                producer.produce(
                    self._policy.topic,
                    value,
                    partition=partition,
                    headers=headers,
                    on_delivery=partial(reported, index),
                )
            while len(reports) < len(records) and time.monotonic() < deadline:
                producer.poll(POLL_S)
        except (KafkaException, BufferError) as error:
            failures.append(str(error))
        if failures or len(reports) < len(records):
            self._replace(producer)
            raise NotReplicated(
                f"{failures[0] if failures else 'no delivery report'} ({self._policy.brokers})"
            )
        return [reports[index] for index in range(len(records))]

    def _replace(self, failed: "Producer") -> None:
        """A producer that has met a fatal error never sends again: the next records get another one."""
        with self._lock:
            if self._producer is failed:
                self._producer = make_producer(self._policy, self._message_bytes_max)
