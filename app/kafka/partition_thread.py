"""The thread that publishes one Kafka partition for as long as this process owns it."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from app.disk.durable_file import SyncFailed
from app.kafka.client import KafkaUnavailable
from app.kafka.partition_publisher import PartitionPublisher
from app.kafka.policy import KafkaPolicy
from app.kafka.publication_log import PartitionLost
from app.kafka.reader import PartitionReader
from app.kinds import Kind
from app.publish.observer import WriterObserver

log = logging.getLogger(__name__)

READ_S: Final = 0.1
RETRY_S_MIN: Final = 0.2
RETRY_S_MAX: Final = 10.0
RETRY_ALONE_S: Final = 10.0
"""The interval at which a stopped partition is tried again."""


class PartitionThread:
    """new_pipeline: made anew whenever the partition was lost to a writer that has published it further.

    bytes_max: what may be buffered here now. on_fatal: called with errors that retrying cannot fix.
    on_published(offset): everything before it is in files. problem: why the partition is not published now.
    """

    def __init__(
        self,
        partition: int,
        policy: KafkaPolicy,
        new_pipeline: Callable[[int], PartitionPublisher],
        bytes_max: Callable[[], int],
        observer: WriterObserver,
        on_published: Callable[[int, int], None],
        on_fatal: Callable[[BaseException], None],
        new_reader: Callable[[KafkaPolicy, int], PartitionReader] = PartitionReader,
    ) -> None:
        self._new_reader = new_reader
        self.partition = partition
        self._policy = policy
        self._new_pipeline = new_pipeline
        self._bytes_max = bytes_max
        self._observer = observer
        self._on_published = on_published
        self._on_fatal = on_fatal
        self._stop = threading.Event()
        self._drain_until_s: float | None = None
        self._end_is_known = False
        self._must_seek = False
        self._pipeline: PartitionPublisher | None = None
        self._reader: PartitionReader | None = None
        self._thread = threading.Thread(target=self._run, name=f"partition-{partition}", daemon=True)
        self._said: str | None = None
        self.problem: str | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread soon; buffered rows are left to the partition's next owner."""
        self._stop.set()

    def drain(self, until_s: float) -> None:
        """Publishes what Kafka has by now, as far as that goes until then, and ends the thread."""
        self._drain_until_s = until_s

    def join(self, timeout_s: float) -> bool:
        """Whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def lag(self) -> int:
        """Records that are not in files."""
        reader, pipeline = self._reader, self._pipeline
        return 0 if reader is None or pipeline is None else max(reader.high - pipeline.state.to, 0)

    @property
    def buffered_bytes(self) -> int:
        return 0 if self._pipeline is None else self._pipeline.bytes

    @property
    def buffered_rows(self) -> int:
        return 0 if self._pipeline is None else self._pipeline.rows

    def buffered_by(self) -> Counter[tuple[int, Kind]]:
        """Rows that were read and are in no file, by workspace and kind."""
        return Counter() if self._pipeline is None else self._pipeline.buffered_by()

    @property
    def oldest_ms(self) -> int | None:
        return None if self._pipeline is None else self._pipeline.oldest_ms

    def _run(self) -> None:
        try:
            self._reader = self._new_reader(self._policy, self.partition)
            try:
                self._until_stopped(self._reader)
            finally:
                self._reader.close()
        except Exception as error:
            self.problem = str(error)
            self._on_fatal(error)

    def _until_stopped(self, reader: PartitionReader) -> None:
        pause_s = RETRY_S_MIN
        while not self._ended():
            try:
                self._turn(reader)
                self.problem, pause_s = None, RETRY_S_MIN
            except PartitionLost as error:
                log.warning("partition %d: %s; continuing behind it", self.partition, error)
                self._pipeline = None
            except SyncFailed:
                raise
            except OSError as error:
                self._failed(error)
                self._must_seek = self._must_seek or isinstance(error, KafkaUnavailable)
                self._stop.wait(pause_s)
                pause_s = min(pause_s * 2, RETRY_S_MAX)
            except Exception as error:
                self._stop_alone(error)

    def _stop_alone(self, error: Exception) -> None:
        """An error that retrying cannot fix stops this partition; the others continue. It is tried again from
        time to time, in case the cause has been fixed."""
        said = str(error) or type(error).__name__
        if self._said != said:
            log.error("partition %d is no longer published, the others are: %s", self.partition, said)
        self.problem = self._said = said
        self._observer.partition_failed()
        self._pipeline = None
        until = RETRY_ALONE_S if self._drain_until_s is None else self._drain_until_s - time.monotonic()
        self._stop.wait(min(max(until, 0.0), RETRY_ALONE_S))

    def _failed(self, error: OSError) -> None:
        if not isinstance(error, KafkaUnavailable):
            self._observer.write_error()
        if self.problem is None:
            log.warning("partition %d cannot be published and is retried: %s", self.partition, error)
        self.problem = str(error)

    def _ended(self) -> bool:
        if self._stop.is_set():
            return True
        if self._drain_until_s is None:
            return False
        pipeline, reader = self._pipeline, self._reader
        published = pipeline is not None and reader is not None and pipeline.state.to >= reader.high
        return (published and self._end_is_known) or time.monotonic() > self._drain_until_s

    def _turn(self, reader: PartitionReader) -> None:
        pipeline = self._pipeline or self._open(reader)
        draining = self._drain_until_s is not None
        if draining and not self._end_is_known:
            reader.watermarks()  # what a fetch has said of the end can be older than the last receipt
            self._end_is_known = True
        all_read = draining and pipeline.position >= reader.high
        if pipeline.due(self._bytes_max()) or all_read:
            before = pipeline.state.to
            pipeline.commit()
            if pipeline.state.to > before:
                self._said = None
                self._on_published(self.partition, pipeline.state.to)
            return
        if self._must_seek:
            # Records that came together with an error were not taken, and the client has passed them by. An
            # offset out of range tells nothing by itself: after a change of leaders it passes.
            low, _ = reader.watermarks()
            self._must_seek = False
            if low > pipeline.position:
                self._pipeline = None  # what is lost is found, and said, when the log is opened
                return
            reader.seek(pipeline.position)
        for record in reader.read(READ_S):
            pipeline.take(record)

    def _open(self, reader: PartitionReader) -> PartitionPublisher:
        pipeline = self._new_pipeline(self.partition)
        low, high = reader.watermarks()
        pipeline.open(reader.read_range, low, high, accept_loss=self._policy.accept_loss)
        reader.seek(pipeline.position)
        self._pipeline = pipeline
        log.info("partition %d is published from offset %d onwards", self.partition, pipeline.position)
        return pipeline
