"""The service with Kafka as its journal: the counterpart of `local_service.py`, with the same interface.

open:   topic → what it needs → writers join their group → front end → batches are taken
close:  front end (what was submitted is replicated) → flushes → writers (what Kafka has is published)
"""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec

from app.api.answers import (
    BufferLevel,
    ForeignRecordSeen,
    KafkaPartition,
    KafkaWriting,
    Remembered,
    RowAccount,
    Status,
)
from app.commit.admission import Admission, Levels
from app.commit.batch_ids import DeduplicationWindow
from app.commit.group import Group
from app.commit.pipeline import Pipeline
from app.commit.quota import Quotas
from app.commit.recent_refusals import RecentRefusals
from app.commit.store import AcceptedRows
from app.errors import Overloaded, RequestError
from app.kafka.client import KafkaMisconfigured, KafkaUnavailable
from app.kafka.flusher import Flusher
from app.kafka.identity import claim
from app.kafka.partition_publisher import RecordsLost
from app.kafka.policy import Role
from app.kafka.producer import RecordSender
from app.kafka.publication_log import PublicationLogDamaged
from app.kafka.published import Account, PublishedPartitions
from app.kafka.record_store import RecordStore
from app.kafka.shared_place import SharedPlace
from app.kafka.topic import Topic, look_at
from app.kafka.writers import WriterParts, Writers
from app.kinds import Kind
from app.metrics import Metrics
from app.object_store.store import ObjectStore
from app.parquet.data_file import DataFile
from app.parquet.wanted import Wanted
from app.publish.intake import FlushResult
from app.run.gate import STARTING, Gate
from app.run.kafka_accounts import KafkaAccounts
from app.run.observers import CommitObserver, PublishObserver
from app.run.pipelines import pipeline_of_batches
from app.run.start_patience import StartStopped
from app.run.summary import Summary
from app.settings.plan import KafkaPlan, Policies
from app.submission import Reply, Submission

log = logging.getLogger(__name__)

AWAITING_KAFKA = "starting: Kafka or the destination of the files does not respond"
OUTAGE = "waiting for Kafka"
WATCH_S = 1.0
ROOM = 1 << 62

FOREIGN_LISTED_MAX = 20
"""Records of a partition that GET /status names one by one."""

REFUSALS = (KafkaMisconfigured, RecordsLost, PublicationLogDamaged)
"""Errors whose messages tell an operator what to do."""


class KafkaParts(msgspec.Struct, frozen=True):
    """The parts that exist once Kafka has responded. pipeline: None for the role writer. writers: None for
    ingest."""

    topic: Topic
    sender: RecordSender
    published: PublishedPartitions
    flusher: Flusher
    pipeline: Pipeline[Submission, Group] | None
    writers: Writers | None
    window: DeduplicationWindow
    accepted: AcceptedRows


class KafkaService:
    """gate: whether batches are accepted, and if not, why."""

    def __init__(
        self,
        place: SharedPlace,
        plan: KafkaPlan,
        policies: Policies,
        metrics: Metrics,
        clock_ms: Callable[[], int],
        on_fatal: Callable[[], None],
        store: ObjectStore | None = None,
    ) -> None:
        self.store = store
        self.refusals = RecentRefusals()
        self._place = place
        self._role = plan.role
        self._kafka = plan.policy
        self._policies = policies
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._summary = Summary()
        self._parts: KafkaParts | None = None
        self._stop = threading.Event()
        self.accounts = KafkaAccounts(Quotas(policies.quotas, clock_ms, clock_ms), self._published_files)
        self.admission = Admission(
            policies.admission,
            self.levels,
            lambda code: metrics.backpressure_refusals.labels(code).inc(),
            closed=STARTING,
            quotas=self.accounts.quotas,
        )
        self.gate = Gate(self.admission, REFUSALS, on_fatal)

    # --- life -------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """Nothing to lock: no resource belongs to one process."""

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Waits for Kafka and the destination of the files, then starts. Blocks; call it in a thread.

        Raises StartStopped, KafkaMisconfigured.
        """
        topic = self._until_there()
        for warning in topic.warnings:
            log.warning("the topic: %s", warning)
        policies, kafka = self._policies, self._kafka
        published = PublishedPartitions(self._place, kafka.topic, topic.partitions)
        sender = RecordSender(kafka, topic.message_bytes_max)
        flusher = Flusher(sender, published, topic, policies.publish_timeout_s)
        flusher.start()
        writers = self._start_writers() if self._role is not Role.INGEST else None
        window, accepted = DeduplicationWindow(policies.deduplication), AcceptedRows()
        pipeline = None
        if self._role is not Role.WRITER:
            pipeline = self._start_pipeline(sender, topic, window, accepted, loop)
        self._parts = KafkaParts(topic, sender, published, flusher, pipeline, writers, window, accepted)
        self.gate.open()
        log.info("ready: topic %s with %d partitions, role %s", kafka.topic, topic.partitions, self._role)

    def _until_there(self) -> Topic:
        while True:
            try:
                topic = look_at(self._kafka)
                claim(self._place, self._kafka.topic, topic.identity)
                self._place.tidy(self._clock_ms())
                return topic
            except OSError as error:
                log.warning("the start is waiting: %s", error)
            self.gate.close(AWAITING_KAFKA)
            if self._stop.wait(WATCH_S):
                raise StartStopped

    def _start_writers(self) -> Writers:
        policies = self._policies
        parts = WriterParts(
            self._kafka,
            self._place,
            policies.writer,
            policies.deduplication,
            self._clock_ms,
            PublishObserver(self._metrics),
        )
        writers = Writers(parts, self.fail)
        writers.start()
        return writers

    def _start_pipeline(
        self,
        sender: RecordSender,
        topic: Topic,
        window: DeduplicationWindow,
        accepted: AcceptedRows,
        loop: asyncio.AbstractEventLoop,
    ) -> Pipeline[Submission, Group]:
        decode = self._policies.decode
        store = RecordStore(
            sender, topic.partition_of, topic.frame_bytes_max, window, accepted, self._note_outage
        )
        pipeline = pipeline_of_batches(
            store,
            self._policies.group,
            decode,
            CommitObserver(self._metrics, self._count_rows, self.refusals.note),
            self.fail,
        )
        pipeline.start(loop)
        return pipeline

    def _count_rows(self, workspace_id: int, rows: int) -> None:
        self.accounts.quotas.charge(workspace_id, rows)
        self._metrics.count_rows(workspace_id, rows)

    def _note_outage(self, problem: str) -> None:
        """Until Kafka responds, batches are refused immediately, not each after a timeout."""
        if self.admission.closed is None:
            log.warning("batches are refused until Kafka responds: %s", problem)
            self.gate.close(OUTAGE)
            threading.Thread(target=self._until_back, name="kafka-watch", daemon=True).start()

    def _until_back(self) -> None:
        """Only a record accepted by every partition shows that batches can be accepted again. It asks the
        writers to publish, which does no harm."""
        parts = self._open_parts()
        while not self._stop.wait(WATCH_S):
            try:
                parts.sender.ask_to_publish(range(parts.topic.partitions))
            except KafkaUnavailable:
                continue
            if self.admission.closed == OUTAGE:
                self.gate.open()
                log.info("Kafka responds: batches are accepted again")
            return

    def stop_opening(self) -> None:
        self._stop.set()

    def close(self) -> None:
        """Drains. Blocks; call it in a thread."""
        self.gate.drain()
        self._stop.set()
        parts = self._parts
        if parts is None:
            return
        if parts.pipeline is not None:
            parts.pipeline.close()
        parts.flusher.close()
        if parts.writers is not None:
            parts.writers.close(self._policies.drain_timeout_s)

    @property
    def fatal(self) -> BaseException | None:
        return self.gate.fatal

    def fail(self, error: BaseException) -> None:
        self.gate.fail(error)

    # --- what is asked of it ------------------------------------------------------------------------------

    def submit(self, submission: Submission, reply: Reply) -> None:
        pipeline = self._open_parts().pipeline
        if pipeline is None:
            raise Overloaded("This process is a writer; send batches to a front end.", retry_after_s=5)
        pipeline.submit(submission, reply)

    def forget(self, wanted: Wanted, now: bool, asked: Mapping[str, Any]) -> dict[str, Any]:
        raise RequestError(
            "With a Kafka journal published files never change, and the topic keeps its records: rows "
            "cannot be removed from them here.",
            code="files_never_change",
        )

    def flush(self, workspace_id: int | None = None) -> "Future[FlushResult]":
        return self._open_parts().flusher.flush(workspace_id)

    def files(self) -> Sequence[DataFile]:
        return self._published_files()

    def find(self, path: str) -> DataFile | None:
        return self._open_parts().published.find(path)

    async def publish(self, workspace_id: int) -> bool:
        """Publishes the accepted rows of this workspace; returns whether that succeeded in time."""
        flushed = asyncio.wrap_future(self.flush(workspace_id))
        done, _ = await asyncio.wait({flushed}, timeout=self._policies.publish_timeout_s)
        return bool(done) and flushed.exception() is None

    def status(self) -> Status:
        """The account of all rows from the logs, and of this process's own part.

        buffered: rows that this process has read but not published; rows that have not been read yet are the
        lag. accepted: published, buffered and quarantined. accepted_here: acknowledged by this process.
        """
        parts = self._open_parts()
        with parts.accepted.lock:
            accepted = dict(parts.accepted.rows)
        threads = parts.writers.threads() if parts.writers is not None else []
        buffered = sum((each.buffered_by() for each in threads), Counter[tuple[int, Kind]]())
        written = parts.published.account()
        nothing = Account()
        rows = []
        for key in sorted({*accepted, *buffered, *written}):
            account = written.get(key, nothing)
            rows.append(
                RowAccount(
                    workspace_id=key[0],
                    kind=key[1],
                    accepted=account.published + buffered[key] + account.quarantined,
                    accepted_here=accepted.get(key, 0),
                    published=account.published,
                    buffered=buffered[key],
                    quarantined=account.quarantined,
                    removed=0,
                )
            )
        return Status(
            role=self._role.value,
            rows=rows,
            partitions=[
                KafkaPartition(
                    partition=each,
                    published_to=parts.published.to(each),
                    foreign_records=[
                        ForeignRecordSeen(offset=record.offset, path=record.path, error=record.error)
                        for record in parts.published.foreign(each)[-FOREIGN_LISTED_MAX:]
                    ],
                )
                for each in range(parts.topic.partitions)
            ],
            writing=[
                KafkaWriting(partition=each.partition, lag=each.lag, problem=each.problem) for each in threads
            ],
            buffer=BufferLevel(rows=self.buffered_rows(), bytes=self.buffered_bytes()),
            deduplication=Remembered(batches=len(parts.window), messages=len(parts.window.messages)),
            files=len(parts.published.files()),
            last_flush_ms=parts.flusher.last_flush_ms,
            problem=parts.writers.problem() if parts.writers is not None else None,
        )

    def oldest_age_s(self) -> float:
        """The age of the oldest row that was read but is not in a file."""
        oldest_ms = self._parts.writers.oldest_ms() if self._parts and self._parts.writers else None
        return 0.0 if oldest_ms is None else max(self._clock_ms() - oldest_ms, 0) / 1000

    def levels(self) -> Levels:
        """Waiting rows are in Kafka: nothing fills up here."""
        return Levels(journal_bytes=0, free_bytes=ROOM, free_inodes=ROOM)

    def buffered_bytes(self) -> int:
        return self._parts.writers.buffered_bytes() if self._parts and self._parts.writers else 0

    def buffered_rows(self) -> int:
        return self._parts.writers.buffered_rows() if self._parts and self._parts.writers else 0

    def _published_files(self) -> Sequence[DataFile]:
        return self._open_parts().published.files()

    def lag(self) -> int:
        """Records in Kafka that are not in files, in this writer's partitions."""
        return self._parts.writers.lag() if self._parts and self._parts.writers else 0

    def problem(self) -> str | None:
        """Why publishing is failing in this process now; None if it works."""
        return self._parts.writers.problem() if self._parts and self._parts.writers else None

    def log_summary(self) -> None:
        """A summary line; none if nothing has changed since the last one."""
        if self._parts is None:
            return
        self._summary.say(
            "accepted %d rows; buffered %d rows, %.1f MB; lag %d records",
            sum(self._parts.accepted.rows.values()),
            self.buffered_rows(),
            self.buffered_bytes() / 1e6,
            self.lag(),
        )

    def reasons_not_ready(self) -> list[str]:
        return self.gate.reasons_not_ready()

    def check_space(self) -> None:
        """There are no disks to check."""

    def _open_parts(self) -> KafkaParts:
        if self._parts is None:
            raise Overloaded("The service is starting; try again.", retry_after_s=2)
        return self._parts
