"""The records of one Kafka partition, in order, from an offset on."""

import time
from collections.abc import Iterator
from typing import Final

from app.kafka.client import KafkaUnavailable, make_reader
from app.kafka.partition_publisher import RecordsLost
from app.kafka.policy import KafkaPolicy
from app.kafka.record import TYPE_HEADER, Record

RECORDS_AT_A_TIME: Final = 16
ASK_TIMEOUT_S: Final = 5.0
RANGE_TIMEOUT_S: Final = 60.0
"""A range that is read again must arrive within this time, otherwise reading it is retried."""


class PartitionReader:
    """Raises KafkaUnavailable where brokers do not answer. Used by one thread."""

    def __init__(self, policy: KafkaPolicy, partition: int) -> None:
        from confluent_kafka import TopicPartition

        self._policy = policy
        self._partition = partition
        self._at = TopicPartition(policy.topic, partition)
        self._consumer = make_reader(policy)
        self.high = 0

    def watermarks(self) -> tuple[int, int]:
        """The first offset that is there, and the one behind the last."""
        from confluent_kafka import KafkaException

        try:
            found = self._consumer.get_watermark_offsets(self._at, timeout=ASK_TIMEOUT_S, cached=False)
        except KafkaException as error:
            raise KafkaUnavailable(str(error)) from None
        if found is None:
            raise KafkaUnavailable(f"{self._at.topic}-{self._partition}: no response")
        self.high = max(self.high, found[1])
        return int(found[0]), int(found[1])

    def seek(self, offset: int) -> None:
        from confluent_kafka import KafkaException, TopicPartition

        try:
            self._consumer.assign([TopicPartition(self._policy.topic, self._partition, offset)])
        except KafkaException as error:
            raise KafkaUnavailable(str(error)) from None

    def read(self, timeout_s: float) -> list[Record]:
        """Some records, none when there are none within this time.

        When it raises, records may have been passed by: look at the `watermarks`, and `seek`.
        """
        from confluent_kafka import KafkaError, KafkaException

        records = []
        try:
            messages = self._consumer.consume(RECORDS_AT_A_TIME, timeout_s)
            high = self._consumer.get_watermark_offsets(self._at, cached=True)
        except KafkaException as failure:
            raise KafkaUnavailable(str(failure)) from None
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    continue
                raise KafkaUnavailable(str(error))
            asked = any(header[0] == TYPE_HEADER for header in message.headers() or ())
            offset = message.offset()
            assert offset is not None, "a record that was read has an offset"
            records.append(Record(offset, None if asked else message.value()))
        if high is not None:
            self.high = max(self.high, high[1])
        return records

    def read_range(self, start: int, to: int) -> Iterator[Record]:
        """All records from `start` up to `to`, which has been read before. Raises RecordsLost."""
        low, _ = self.watermarks()
        if low > start:
            raise RecordsLost(
                f"{self._at.topic}-{self._partition}: files of offsets {start} to {to - 1} are missing, "
                f"and Kafka has no record before {low} any more"
            )
        self.seek(start)
        deadline = time.monotonic() + RANGE_TIMEOUT_S
        while time.monotonic() < deadline:
            for record in self.read(0.2):
                if record.offset < to:
                    yield record
                if record.offset >= to - 1:
                    return
        raise KafkaUnavailable(f"{self._at.topic}-{self._partition}: records do not arrive")

    def close(self) -> None:
        self._consumer.close()
