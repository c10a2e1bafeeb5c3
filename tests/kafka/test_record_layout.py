"""How a group becomes records: by Kafka partition, none too large, and what is refused for that."""

import json
import random
from collections.abc import Sequence
from typing import Any, Final

from app.commit.batch_ids import DeduplicationPolicy, DeduplicationWindow
from app.commit.group import Group
from app.commit.store import AcceptedRows
from app.errors import BodyTooLarge, Overloaded
from app.kafka.record import RecordCodec
from app.kafka.record_layout import Outgoing
from app.kafka.record_store import RecordStore
from app.kafka.topic import partition_of
from app.kinds import Kind
from app.submission import Answer, DecodePolicy, Receipt, Submission, WireFormat

DEVICE: Final = "550e8400-e29b-41d4-a716-446655440000"
PARTITIONS: Final = 4


def submission(workspace: int, texts: list[str], batch_id: bytes = b"") -> Submission:
    rows = [{"type": "track", "event": text, "device_id": DEVICE} for text in texts]
    return Submission(
        wire_format=WireFormat.JSON,
        kind=Kind.EVENTS,
        body=json.dumps(rows).encode(),
        api_key=bytes(16),
        workspace_id=workspace,
        source_ip=bytes(16),
        received_ms=1_790_000_000_000,
        batch_id=batch_id,
    )


class Stored:
    """What the store made of a group. outgoing: the records that it sent."""

    def __init__(self, group: Group, outgoing: list[Outgoing]) -> None:
        self.outgoing = outgoing
        self.submissions = group.submissions
        self.answers = group.answers(0.0)
        self.counts = group.counts


class Sent(list[Outgoing]):
    def send(self, records: Sequence[Outgoing]) -> None:
        self.extend(records)


def laid_out(submissions: list[Submission], record_bytes_max: int = 1 << 20) -> Stored:
    pending: list[Any] = [(each, lambda answer: None) for each in submissions]
    group, sent = Group(pending, DecodePolicy()), Sent()
    group.decode()
    store = RecordStore(
        sent,
        lambda workspace: partition_of(workspace, PARTITIONS),
        record_bytes_max,
        DeduplicationWindow(DeduplicationPolicy()),
        AcceptedRows(),
        lambda text: None,
    )
    store.store(group)
    return Stored(group, sent)


def answers(group: Stored) -> dict[str, Answer]:
    return {
        json.loads(each.body)[0]["event"][:9]: answer
        for each, answer in zip(group.submissions, group.answers, strict=True)
    }


def rows_of(group: Stored) -> list[tuple[int, int, str]]:
    """Kafka partition, workspace and name of every row."""
    found = []
    for each in group.outgoing:
        rows = RecordCodec().decode(each.value).rows
        pairs = zip(rows["workspace_id"].to_pylist(), rows["event_name"].to_pylist(), strict=True)
        found += [(each.partition, workspace, name) for workspace, name in pairs]
    return found


def test_a_row_goes_to_the_partition_of_its_workspace() -> None:
    group = laid_out([submission(workspace, [f"of {workspace}"] * 3) for workspace in range(20)])

    rows = rows_of(group)
    assert len(rows) == 60
    assert all(partition == partition_of(workspace, PARTITIONS) for partition, workspace, _ in rows)
    assert all(name == f"of {workspace}" for _, workspace, name in rows)
    assert len({each.partition for each in group.outgoing}) == len(group.outgoing) == PARTITIONS
    assert group.counts.accepted.total() == 60


def test_the_partition_of_a_workspace_never_changes() -> None:
    assert [partition_of(workspace, 12) for workspace in (0, 1, 2, 7, 2**63)] == [1, 7, 0, 8, 5]


def test_a_receipt_says_where_its_rows_begin() -> None:
    group = laid_out(
        [submission(1, ["a"] * 2), submission(1, ["b"] * 3, b"id b"), submission(1, ["c"], b"id c")]
    )

    (record,) = [RecordCodec().decode(each.value) for each in group.outgoing]
    names = record.rows["event_name"].to_pylist()
    for receipt, start in zip(record.header.receipts, record.header.starts, strict=True):
        expected = receipt.batch_id.decode().removeprefix("id ")
        assert names[start : start + receipt.rows] == [expected] * receipt.rows
    assert len(record.header.receipts) == 2


def test_records_are_divided_between_batches_until_they_fit() -> None:
    rng = random.Random(1)  # text that does not compress
    texts = [[f"{rng.getrandbits(800):0200x}"] for _ in range(64)]
    group = laid_out([submission(1, text) for text in texts], record_bytes_max=6_000)

    assert len(group.outgoing) > 1
    assert all(len(each.value) <= 6_000 for each in group.outgoing)
    assert sorted(name for _, _, name in rows_of(group)) == sorted(text for (text,) in texts)
    assert all(isinstance(answer, Receipt) for answer in group.answers)


def test_a_batch_that_fits_no_record_is_refused_alone() -> None:
    large = "too large" + "".join(f"{number:x}" for number in range(5_000))
    group = laid_out([submission(1, ["small one"]), submission(1, [large])], record_bytes_max=6_000)

    found = answers(group)
    assert isinstance(found["small one"], Receipt)
    assert isinstance(found["too large"], BodyTooLarge)
    assert [name for _, _, name in rows_of(group)] == ["small one"]
    assert group.counts.accepted.total() == 1
    assert group.counts.refused_codes == {"too_large": 1}


def test_what_was_taken_for_a_duplicate_of_a_refused_batch_is_not_acknowledged() -> None:
    large = "too large" + "".join(f"{number:x}" for number in range(5_000))
    twice = [submission(1, [large], b"id"), submission(1, [large], b"id"), submission(1, ["another"], b"id")]
    group = laid_out(twice, record_bytes_max=6_000)

    kinds = [type(answer) for answer in group.answers]
    assert sorted(kind.__name__ for kind in kinds) == ["BodyTooLarge", "Overloaded", "Overloaded"]
    assert Overloaded in kinds
    assert group.outgoing == []
