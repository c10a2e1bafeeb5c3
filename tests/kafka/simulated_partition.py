"""One Kafka partition and the place of its files, in memory: what writers share while they die and sleep."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from app.commit.batch_ids import DeduplicationPolicy
from app.commit.payload import BatchReceipt
from app.disk.durable_file import Buffer
from app.kafka.encoder import Encoder
from app.kafka.partition_publisher import PartitionPublisher
from app.kafka.publication_log import PartitionLost, PublicationLog
from app.kafka.record import Record, RecordCodec, RecordHeader
from app.kafka.shared_place import SharedPlace
from app.kinds import Kind
from app.parquet.annotation import Annotation
from app.parquet.layout import Layout
from app.parquet.partition import Rotation
from app.publish.observer import SilentObserver
from app.publish.rotation import WriterPolicy
from tests.parquet.rows import NOON_MS, event_rows

CHECKPOINT_ENTRIES: Final = 3
WORKSPACES: Final = (1, 2)


class Died(BaseException):
    """The process ends here."""


class Interposed:
    """A place at whose call number `at` something happens, before it or after it has been done."""

    def __init__(
        self,
        place: SharedPlace,
        at: int | None = None,
        before: bool = True,
        act: Callable[[], None] = lambda: None,
    ) -> None:
        self._place = place
        self._at = at
        self._before = before
        self._act = act
        self.calls = 0
        self.fired = False

    def _step(self, before: bool) -> None:
        self.calls += before
        if self.calls - 1 == self._at and before == self._before and not self.fired:
            self.fired = True
            self._act()

    def create(self, path: str, content: Buffer) -> bool:
        self._step(True)
        created = self._place.create(path, content)
        self._step(False)
        return created

    def create_all(self, files: Sequence[tuple[str, Buffer]]) -> None:
        for path, content in files:
            self.create(path, content)

    def read(self, path: str) -> bytes:
        self._step(True)
        content = self._place.read(path)
        self._step(False)
        return content

    def size(self, path: str) -> int | None:
        self._step(True)
        size = self._place.size(path)
        self._step(False)
        return size

    def names(self, directory: str) -> list[str]:
        self._step(True)
        names = self._place.names(directory)
        self._step(False)
        return names

    def remove(self, path: str) -> None:
        self._step(True)
        self._place.remove(path)
        self._step(False)


class Memory:
    """A `SharedPlace` that outlives the writers."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def create(self, path: str, content: Buffer) -> bool:
        data = bytes(memoryview(content).cast("B"))
        return self.files.setdefault(path, data) == data

    def create_all(self, files: Sequence[tuple[str, Buffer]]) -> None:
        for path, content in files:
            self.create(path, content)

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def size(self, path: str) -> int | None:
        return len(self.files[path]) if path in self.files else None

    def names(self, directory: str) -> list[str]:
        prefix = f"{directory}/"
        return [path.removeprefix(prefix) for path in self.files if path.startswith(prefix)]

    def remove(self, path: str) -> None:
        self.files.pop(path, None)


def _made(header: RecordHeader, **columns: Any) -> bytes:
    rows = event_rows(0, 3)
    for name, values in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, values)
    return RecordCodec().encode(header, rows)


FOREIGN = (
    b"",
    b"hello",
    b'{"user": 5}',
    b"\x05\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x01\0\0\0\x05",
    _made(RecordHeader(Kind.EVENTS))[:-20],
    _made(RecordHeader(Kind.SNAPSHOTS)),
    _made(RecordHeader(Kind.EVENTS, [BatchReceipt(1, b"x", b"y", 9)], [0])),
    _made(RecordHeader(Kind.EVENTS, [BatchReceipt(1, b"x", b"y", 1)], [])),
    _made(RecordHeader(Kind.EVENTS), timestamp=pa.array(["a", "b", "c"])),
)
"""Records that anybody who may write to the topic may have written."""


@dataclass
class Partition:
    """records: what Kafka has. expected: the rows that must be in files once all of it is published."""

    records: list[Record] = field(default_factory=list)
    expected: set[tuple[int, int]] = field(default_factory=set)
    foreign: dict[int, bytes] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    writers: int = 0

    @classmethod
    def of(cls, seed: int, records: int) -> "Partition":
        """Random batches with and without ids, some of them repeated, and wishes to publish."""
        partition, rng = cls(), random.Random(seed)
        known: list[tuple[int, bytes, list[int]]] = []
        row = 0
        for offset in range(records):
            if rng.random() < 0.1:
                partition.records.append(Record(2 * offset, None))
                continue
            if rng.random() < 0.15:
                partition.foreign[2 * offset] = rng.choice(FOREIGN)
                partition.records.append(Record(2 * offset, partition.foreign[2 * offset]))
                continue
            batches: list[tuple[int, bytes, list[int]]] = []
            for _ in range(rng.randint(1, 3)):
                if known and rng.random() < 0.3:
                    batches.append(rng.choice(known))
                else:
                    rows = list(range(row, row + rng.randint(1, 4)))
                    row = rows[-1] + 1
                    batch_id = b"%d" % row if rng.random() < 0.7 else b""
                    batches.append((rng.choice(WORKSPACES), batch_id, rows))
                    if batch_id:
                        known.append(batches[-1])
                partition.expected |= {(batches[-1][0], number) for number in batches[-1][2]}
            partition.records.append(record_of(2 * offset, batches))  # offsets of a topic can have gaps
        return partition

    @property
    def high(self) -> int:
        return self.records[-1].offset + 1 if self.records else 0

    def read(self, start: int, to: int) -> Iterator[Record]:
        return (record for record in self.records if start <= record.offset < to)

    def pipeline(self, place: SharedPlace) -> PartitionPublisher:
        """Each writer is configured in another way than the one before it."""
        self.writers += 1
        log = PublicationLog(place, "topic", 3, DeduplicationPolicy(), CHECKPOINT_ENTRIES)
        rotations = (Rotation.DAILY, Rotation.MONTHLY, Rotation.HOURLY)
        annotations = frozenset(Annotation) if self.writers % 2 else frozenset[Annotation]()
        policy = WriterPolicy(
            rotation=rotations[self.writers % len(rotations)], layout=Layout(annotations=annotations)
        )
        encoder = Encoder(3, log.directory, policy, lambda: NOON_MS, SilentObserver())
        name = f"writer-{self.writers}"
        return PartitionPublisher(log, place, encoder, policy, name, lambda: NOON_MS, SilentObserver())

    def run(self, place: SharedPlace, rng: random.Random) -> None:
        """One writer from its start until everything is published, or until it has lost the partition."""
        pipeline = self.pipeline(place)
        try:
            pipeline.open(self.read, 0, self.high)
            for record in self.read(pipeline.position, self.high):
                pipeline.take(record)
                if rng.random() < 0.4:
                    commit(pipeline)
            commit(pipeline)
        except PartitionLost:
            return

    def rows_in_files(self) -> Counter[tuple[int, int]]:
        """How often each (workspace, number) stands in the data files, whoever knows of them."""
        found: Counter[tuple[int, int]] = Counter()
        for path, content in self.memory.files.items():
            if path.endswith(".parquet"):
                table = pq.read_table(pa.BufferReader(content))
                found.update(zip(table["workspace_id"].to_pylist(), numbers_of(table), strict=True))
        return found

    def violations(self) -> list[str]:
        found = self.rows_in_files()
        wrong = [f"row {row} stands {count} times" for row, count in found.items() if count > 1]
        wrong += [f"row {row} is missing" for row in self.expected - found.keys()]
        kept = {
            int(path.rpartition("offset-")[2].removesuffix(".record")): content
            for path, content in self.memory.files.items()
            if path.endswith(".record")
        }
        wrong += [] if kept == self.foreign else [f"kept of {self.foreign} is {kept}"]
        return wrong + [f"nobody sent row {row}" for row in found.keys() - self.expected]


def commit(pipeline: PartitionPublisher) -> None:
    """As the thread of a partition does: until it is through."""
    for _ in range(3):
        try:
            pipeline.commit()
            return
        except OSError:
            continue
    raise AssertionError("the fault has not ended")


def numbers_of(table: pa.Table) -> list[int]:
    return table["timestamp"].cast(pa.int64()).to_pylist()


def record_of(offset: int, batches: list[tuple[int, bytes, list[int]]]) -> Record:
    rows, receipts, starts, start = [], [], [], 0
    for workspace, batch_id, numbers in batches:
        rows.append(event_rows(numbers[0], len(numbers), workspace_id=workspace))
        if batch_id:
            receipts.append(BatchReceipt(workspace, batch_id, b"digest of " + batch_id, len(numbers)))
            starts.append(start)
        start += len(numbers)
    value = RecordCodec().encode(RecordHeader(Kind.EVENTS, receipts, starts), pa.concat_batches(rows))
    return Record(offset, value)
