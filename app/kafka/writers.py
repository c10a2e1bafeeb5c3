"""The writer: a member of the consumer group, with a thread for each assigned partition."""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from app.commit.batch_ids import DeduplicationPolicy
from app.kafka.client import make_member
from app.kafka.encoder import Encoder
from app.kafka.partition_publisher import PartitionPublisher
from app.kafka.partition_thread import PartitionThread
from app.kafka.policy import KafkaPolicy
from app.kafka.publication_log import PublicationLog
from app.kafka.shared_place import SharedPlace
from app.publish.observer import WriterObserver
from app.publish.rotation import WriterPolicy

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition

log = logging.getLogger(__name__)

POLL_S: Final = 0.2
LEAVE_S: Final = 5.0
REJOIN_S: Final = 1.0
REVOKED_S: Final = 2.0
"""How long a thread in the middle of a publish is waited for: it does no harm after that."""


class WriterParts(msgspec.Struct, frozen=True):
    """The parts of every partition's thread."""

    kafka: KafkaPolicy
    place: SharedPlace
    policy: WriterPolicy
    deduplication: DeduplicationPolicy
    clock: Callable[[], int]
    observer: WriterObserver


class Writers:
    """Follows the group's assignment on a thread of its own."""

    def __init__(self, parts: WriterParts, on_fatal: Callable[[BaseException], None]) -> None:
        self._parts = parts
        self._on_fatal = on_fatal
        self._name = uuid.uuid4().hex
        self._threads: dict[int, PartitionThread] = {}
        self._published: dict[int, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kafka-member", daemon=True)
        self._joined = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def close(self, deadline_s: float) -> None:
        """Publishes the rows in Kafka, as far as possible within a time limit, and leaves the group."""
        until_s = time.monotonic() + deadline_s
        self._joined.wait(deadline_s)  # a stop soon after a start: what is to be published is not known yet
        for thread in self.threads():
            thread.drain(until_s)
        for thread in self.threads():
            if not thread.join(max(until_s - time.monotonic(), 0.0)):
                thread.stop()
        self._stop.set()
        self._thread.join(LEAVE_S)

    def threads(self) -> list[PartitionThread]:
        return list(self._threads.values())

    def buffered_bytes(self) -> int:
        return sum(thread.buffered_bytes for thread in self.threads())

    def buffered_rows(self) -> int:
        return sum(thread.buffered_rows for thread in self.threads())

    def lag(self) -> int:
        return sum(thread.lag for thread in self.threads())

    def oldest_ms(self) -> int | None:
        times = [thread.oldest_ms for thread in self.threads()]
        return min((ms for ms in times if ms is not None), default=None)

    def problem(self) -> str | None:
        return next((thread.problem for thread in self.threads() if thread.problem), None)

    def _run(self) -> None:
        from confluent_kafka import KafkaException

        try:
            while not self._stop.is_set():
                member = make_member(self._parts.kafka)
                try:
                    self._follow(member)
                except KafkaException as error:
                    log.warning("leaving and rejoining the consumer group of writers: %s", error)
                    self._give_up(list(self._threads))
                    self._stop.wait(REJOIN_S)
        except Exception as error:
            self._on_fatal(error)

    def _follow(self, member: "Consumer") -> None:
        """Raises KafkaException when this membership has ended and the client does not rejoin by itself."""
        from confluent_kafka import KafkaException

        try:
            member.subscribe(
                [self._parts.kafka.topic],
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._revoked,
            )
            while not self._stop.is_set():
                message = member.poll(POLL_S)  # no record is fetched: all partitions are paused
                error = message.error() if message is not None else None
                if error is not None and error.fatal():
                    raise KafkaException(error)
                self._tell_offsets(member)
        finally:
            with contextlib.suppress(KafkaException):
                member.close()

    def _assigned(self, member: "Consumer", partitions: "list[TopicPartition]") -> None:
        member.incremental_assign(partitions)
        member.pause(partitions)
        for each in partitions:
            log.info("partition %d is assigned to this writer", each.partition)
            thread = PartitionThread(
                each.partition,
                self._parts.kafka,
                self._new_pipeline,
                self._bytes_max,
                self._parts.observer,
                self._note_published,
                self._on_fatal,
            )
            self._threads[each.partition] = thread
            thread.start()
        self._joined.set()

    def _revoked(self, member: "Consumer", partitions: "list[TopicPartition]") -> None:
        from confluent_kafka import KafkaException

        self._give_up([each.partition for each in partitions])
        with contextlib.suppress(KafkaException):  # the client can have forgotten them already
            member.incremental_unassign(partitions)

    def _give_up(self, partitions: list[int]) -> None:
        gone = [thread for each in partitions if (thread := self._threads.pop(each, None))]
        for thread in gone:
            log.info("partition %d is no longer assigned to this writer", thread.partition)
            thread.stop()
        for thread in gone:
            thread.join(REVOKED_S)

    def _new_pipeline(self, partition: int) -> PartitionPublisher:
        parts = self._parts
        commits = PublicationLog(parts.place, parts.kafka.topic, partition, parts.deduplication)
        encoder = Encoder(partition, commits.directory, parts.policy, parts.clock, parts.observer)
        # A name of its own each time: a thread that was given up may still be at work.
        writer = f"{self._name}-{uuid.uuid4().hex[:8]}"
        return PartitionPublisher(
            commits, parts.place, encoder, parts.policy, writer, parts.clock, parts.observer
        )

    def _bytes_max(self) -> int:
        """Half of what may be buffered, shared: the other half is for what is being encoded."""
        return self._parts.policy.max_buffered_bytes // 2 // max(len(self._threads), 1)

    def _note_published(self, partition: int, offset: int) -> None:
        self._published[partition] = offset

    def _tell_offsets(self, member: "Consumer") -> None:
        """Commits offsets for Kafka's own tools, which show lag by them; only the publication log matters."""
        if not self._published:
            return
        from confluent_kafka import KafkaException, TopicPartition

        published, self._published = self._published, {}
        topic = self._parts.kafka.topic
        offsets: list[Any] = [TopicPartition(topic, p, offset) for p, offset in published.items()]
        with contextlib.suppress(KafkaException):
            member.commit(offsets=offsets, asynchronous=True)
