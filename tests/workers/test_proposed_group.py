"""A group that goes through a proposal ends as one that is judged where it was decoded."""

import json

import msgspec

from app.commit.batch_ids import DeduplicationPolicy, DeduplicationWindow
from app.commit.group import Group
from app.commit.payload import RowsFrameCodec
from app.commit.settle import Proposal, read_proposal, settle
from app.kinds import Kind
from app.submission import DecodePolicy, Pending, Submission, WireFormat
from app.workers.remote_store import proposal_of


def pending(name: str, batch_id: bytes = b"", body: bytes | None = None, workspace_id: int = 1) -> Pending:
    event = {"type": "track", "event": name, "device_id": "9f86d081-884c-4d65-9a2f-eaa0c55ad015"}
    submission = Submission(
        wire_format=WireFormat.JSON,
        kind=Kind.EVENTS,
        body=json.dumps(event).encode() if body is None else body,
        api_key=b"k" * 16,
        workspace_id=workspace_id,
        source_ip=b"\0" * 16,
        received_ms=1_760_000_000_000,
        trusted_forwarder=False,
        batch_id=batch_id,
    )
    return submission, lambda answer: None


def decoded() -> Group:
    group = Group(
        [
            pending("a", b"one"),
            pending("b"),
            pending("a", b"one"),
            pending("c", b"one"),
            pending("x", body=b"{not json"),
            pending("a", b"one", workspace_id=2),
        ],
        DecodePolicy(),
    )
    group.decode()
    return group


def test_it_ends_as_a_group_judged_in_one_process() -> None:
    window, codec = DeduplicationWindow(DeduplicationPolicy()), RowsFrameCodec()
    judged = decoded()
    frames = judged.settle(window, codec)
    group = decoded()
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(proposal_of(group)), type=Proposal)
    (settled,) = settle([read_proposal(sent)], window)
    group.conclude(settled.outcomes)
    assert [repr(answer) for answer in group.answers(0.0)] == [repr(answer) for answer in judged.answers(0.0)]
    assert group.counts == judged.counts
    assert [frame.rows.rows.num_rows for frame in settled.frames] == [3]
    assert [frame.receipts for frame in settled.frames] == [frame.receipts for frame in frames]
    for frame, other in zip(settled.frames, frames, strict=True):
        assert frame.rows.rows.equals(other.rows.rows)
