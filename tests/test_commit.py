"""Two groups under way at once: what becomes of the second when the first does not become durable.

The journal stops where the test wants it to and then fails as a real one does; everything else is the
service's own: in one process, as a worker and the process that it works for, joined by their socket, and
with Kafka's records.
"""

import contextlib
import queue
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest

from app.commit.batch_ids import DeduplicationPolicy, DeduplicationWindow
from app.commit.group import Group, GroupCounts, body_bytes, workspace_of
from app.commit.group_queue import GroupPolicy
from app.commit.journal_store import JournalStore
from app.commit.pipeline import Pipeline
from app.commit.settle import read_proposal
from app.commit.store import AcceptedRows, Store
from app.commit.tap import unwatched
from app.commit.usage import DayUsage, Usage
from app.errors import BatchIdReused, DiskFull, OutcomeUnknown, Overloaded
from app.journal.failures import JournalFailed, JournalFull
from app.journal.journal import Appended
from app.kafka.client import KafkaUnavailable
from app.kafka.record import RecordCodec
from app.kafka.record_layout import Outgoing
from app.kafka.record_store import RecordStore
from app.kinds import Kind
from app.submission import Answer, DecodePolicy, Receipt, Submission, WireFormat
from app.workers.messages import Channel, FromWorker, Propose, ToWorker
from app.workers.proposals import ProposedGroups, Waiting, one_lane, payload_bytes
from app.workers.remote_store import RemoteStore

WAIT_S = 10.0
EVENT = b'{"type":"track","event":"a","device_id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}'
Outcome = Appended | Exception


class GatedJournal:
    """Each append says that it has begun, then waits for its outcome."""

    def __init__(self) -> None:
        self.begun: queue.Queue[int] = queue.Queue()
        self.outcomes: queue.Queue[Outcome] = queue.Queue()

    def append(self, payloads: Sequence[Sequence[bytes | pa.Buffer]]) -> Appended:
        self.begun.put(len(payloads))
        outcome = self.outcomes.get(timeout=WAIT_S)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def mark(self) -> None: ...


class Taker:
    """Stands where the writer does, and counts."""

    def __init__(self) -> None:
        self.rows = 0

    def put(self, lsn: int, kind: Kind, rows: pa.RecordBatch) -> None:
        self.rows += rows.num_rows

    order = contextlib.nullcontext(True)

    def wait_for_room(self, seconds: float) -> None: ...


class Observer:
    def group_committed(self, counts: GroupCounts, sync_seconds: float) -> None: ...


class Setting:
    """Every batch is a group of its own: none is small, and one takes all that a group may have."""

    full: Outcome = JournalFull("no space left")
    broken: Outcome = JournalFailed("the sync failed")

    def __init__(self) -> None:
        self.journal = GatedJournal()
        self.writer = Taker()
        self.window = DeduplicationWindow(DeduplicationPolicy())
        self.fatal: queue.Queue[BaseException] = queue.Queue()
        self.answers: dict[str, queue.Queue[Answer]] = {}
        self.pipeline = self.pipeline_over(self.new_store())

    def new_store(self) -> Store[Any]:
        usage = Usage(lambda _: DayUsage())
        return JournalStore(self.journal, self.writer, self.window, AcceptedRows(), 0.0, usage, unwatched)

    def pipeline_over(self, store: Store[Any]) -> Pipeline[Submission, Group]:
        return Pipeline(
            lambda pending: Group(pending, DecodePolicy()),
            body_bytes,
            workspace_of,
            store,
            GroupPolicy(max_batches=1, small_bytes=0),
            Observer(),
            self.fatal.put,
        )

    @property
    def rows(self) -> int:
        """That were made durable and passed on."""
        return self.writer.rows

    def start(self) -> None:
        self.pipeline.start(None)

    def close(self) -> None:
        self.pipeline.close()

    def submit(self, name: str, batch_id: bytes = b"", body: bytes = EVENT) -> None:
        self.answers[name] = queue.Queue()
        submission = Submission(
            WireFormat.JSON, Kind.EVENTS, body, bytes(16), 1, bytes(16), 1_790_000_000_000, batch_id=batch_id
        )
        self.pipeline.submit(submission, self.answers[name].put)

    def answer(self, name: str) -> Answer:
        return self.answers[name].get(timeout=WAIT_S)


class OverASocket(Setting):
    """The same, where one end decodes and the other owns the journal."""

    def new_store(self) -> Store[Any]:
        theirs, ours = socket.socketpair()
        self.channel = Channel(theirs, FromWorker)
        self.owner: Pipeline[Waiting, ProposedGroups] = Pipeline(
            ProposedGroups, payload_bytes, one_lane, super().new_store(), GroupPolicy(), None, self.fatal.put
        )
        self.other_end = Channel(ours, ToWorker)
        self.lost = threading.Event()
        self.listening = threading.Thread(target=self.listen)
        self.store = RemoteStore(self.other_end, lambda state: None, list, self.lost.set)
        return self.store

    def listen(self) -> None:
        while isinstance(message := self.channel.receive(), Propose):
            read = read_proposal(message.proposal)
            self.owner.submit(Waiting(message.number, read), self.channel.send_at_once)

    def start(self) -> None:
        self.listening.start()
        self.owner.start(None)
        self.store.start()
        super().start()

    def close(self) -> None:
        super().close()
        self.owner.close()
        self.channel.close()
        self.listening.join()
        assert self.lost.wait(WAIT_S), "a worker must see that the process it works for is gone"
        self.other_end.close()


class Records(Setting):
    """The same, where records are sent. A sender that fails is an outage; what else fails is a defect."""

    full: Outcome = KafkaUnavailable("no leader")
    broken: Outcome = RuntimeError("a defect")

    def new_store(self) -> Store[Any]:
        return RecordStore(self, lambda workspace: 0, 1 << 20, self.window, AcceptedRows(), lambda text: None)

    def send(self, records: Sequence[Outgoing]) -> None:
        """As the sender: waits for its outcome."""
        self.journal.append([[each.value] for each in records])
        self.writer.rows += sum(RecordCodec().decode(each.value).rows.num_rows for each in records)


@pytest.fixture(params=[Setting, OverASocket, Records])
def setting(request: pytest.FixtureRequest) -> Iterator[Setting]:
    setting = request.param()
    setting.start()
    yield setting
    setting.close()


def test_a_batch_sent_twice_at_once_is_a_duplicate_only_when_the_first_is_durable(setting):
    setting.submit("first", b"id")
    setting.journal.begun.get(timeout=WAIT_S)
    setting.submit("again", b"id")
    setting.journal.outcomes.put(Appended(1, 1, 100, 0.001))
    assert setting.answer("first") == Receipt(Kind.EVENTS, 1, 0, [])
    assert setting.answer("again") == Receipt(Kind.EVENTS, 1, 0, [], duplicate=True)
    assert setting.rows == 1


def test_an_id_that_was_used_for_another_payload_is_refused(setting):
    setting.submit("first", b"id")
    setting.journal.begun.get(timeout=WAIT_S)
    setting.submit("other", b"id", EVENT.replace(b'"a"', b'"b"'))
    setting.journal.outcomes.put(Appended(1, 1, 100, 0.001))
    assert setting.answer("first") == Receipt(Kind.EVENTS, 1, 0, [])
    assert isinstance(setting.answer("other"), BatchIdReused)
    assert setting.rows == 1


def test_a_batch_sent_again_while_the_store_takes_none_is_stored_and_no_duplicate(setting):
    setting.submit("first", b"id")
    setting.journal.begun.get(timeout=WAIT_S)
    setting.submit("again", b"id")
    setting.journal.outcomes.put(setting.full)
    assert isinstance(setting.answer("first"), DiskFull | OutcomeUnknown)
    setting.journal.outcomes.put(Appended(1, 1, 100, 0.001))
    assert setting.answer("again") == Receipt(Kind.EVENTS, 1, 0, [])
    assert setting.rows == 1


def test_after_a_failed_sync_nothing_behind_it_is_appended(setting):
    setting.submit("first")
    setting.journal.begun.get(timeout=WAIT_S)
    for name in ("second", "third", "fourth"):
        setting.submit(name)
    setting.journal.outcomes.put(setting.broken)
    assert isinstance(setting.answer("first"), OutcomeUnknown)
    for name in ("second", "third", "fourth"):
        assert isinstance(setting.answer(name), Overloaded)
    assert setting.fatal.get(timeout=WAIT_S) is setting.broken
    assert setting.journal.begun.empty()
    assert setting.rows == 0
    setting.submit("late")
    assert isinstance(setting.answer("late"), Overloaded)


def test_what_was_submitted_before_the_end_is_committed(setting):
    for name in ("first", "second", "third"):
        setting.submit(name)
    for lsn in (1, 2, 3):
        setting.journal.outcomes.put(Appended(lsn, lsn, 100, 0.001))
    setting.pipeline.close()
    for name in ("first", "second", "third"):
        assert setting.answer(name) == Receipt(Kind.EVENTS, 1, 0, [])
    assert setting.rows == 3
