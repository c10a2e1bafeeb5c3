"""What the owner of the journal makes of the groups that workers propose."""

import msgspec
import pyarrow as pa

from app.commit.batch_ids import DeduplicationPolicy, DeduplicationWindow
from app.commit.payload import BatchReceipt, RowsFrameCodec, RowsHeader
from app.commit.settle import (
    BatchOutcome,
    Proposal,
    ProposedBatch,
    ProposedFrame,
    ReadProposal,
    Settlement,
    read_proposal,
    settle,
)
from app.kinds import Kind


def window() -> DeduplicationWindow:
    return DeduplicationWindow(DeduplicationPolicy())


def read(*batches: tuple[bytes, bytes, list[int]], workspace_id: int = 1) -> ReadProposal:
    return read_proposal(proposal(*batches, workspace_id=workspace_id))


def proposal(*batches: tuple[bytes, bytes, list[int]], workspace_id: int = 1) -> Proposal:
    """One frame of batches: id, digest, values of their rows; through the bytes, as a worker sends it."""
    values = [value for _, _, rows in batches for value in rows]
    receipts = [BatchReceipt(workspace_id, name, seen, len(rows)) for name, seen, rows in batches if name]
    payload = RowsFrameCodec().encode(
        RowsHeader(Kind.EVENTS, receipts), pa.record_batch({"value": pa.array(values, pa.int64())})
    )
    joined = b"".join(bytes(piece) for piece in payload)
    sent = Proposal(
        [ProposedBatch(workspace_id, name, seen, len(rows)) for name, seen, rows in batches],
        [
            ProposedFrame(
                Kind.EVENTS, list(range(len(batches))), [len(rows) for _, _, rows in batches], joined
            )
        ],
    )
    return msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Proposal)


def journalled(settlement: Settlement) -> list[tuple[RowsHeader, list[int]]]:
    """Header and values of each payload, read back as replay reads them."""
    frames = []
    for frame in settlement.frames:
        read = RowsFrameCodec().decode(b"".join(bytes(piece) for piece in frame.payload))
        assert read.rows.equals(frame.rows.rows)
        assert list(read.header.receipts) == list(frame.receipts)
        frames.append((read.header, read.rows.column("value").to_pylist()))
    return frames


def test_a_frame_of_new_batches_is_journalled_as_it_came() -> None:
    sent = proposal((b"a", b"1", [1, 2]), (b"", b"", [3]))
    (settled,) = settle([read_proposal(sent)], window())
    assert settled.outcomes == [BatchOutcome(), BatchOutcome()]
    assert settled.frames[0].payload == [sent.frames[0].payload]
    assert journalled(settled)[0][1] == [1, 2, 3]


def test_the_same_id_from_two_workers_is_stored_once() -> None:
    first, second = settle(
        [read((b"a", b"1", [1, 2])), read((b"", b"", [7]), (b"a", b"1", [1, 2]), (b"b", b"2", [8]))],
        window(),
    )
    assert journalled(first)[0][1] == [1, 2]
    assert second.outcomes == [BatchOutcome(), BatchOutcome(stored_before=2), BatchOutcome()]
    header, values = journalled(second)[0]
    assert values == [7, 8]
    assert header.receipts == [BatchReceipt(1, b"b", b"2", 1)]


def test_a_batch_of_the_window_leaves_no_empty_frame() -> None:
    known = window()
    known.remember(5, [BatchReceipt(1, b"a", b"1", 2)])
    (settled,) = settle([read((b"a", b"1", [1, 2]))], known)
    assert settled == Settlement([BatchOutcome(stored_before=2)], [])


def test_an_id_with_another_payload_is_refused_and_not_stored() -> None:
    known = window()
    known.remember(5, [BatchReceipt(1, b"a", b"1", 2)])
    (settled,) = settle([read((b"a", b"other", [9]), (b"", b"", [3]))], known)
    assert settled.outcomes == [BatchOutcome(reused=True), BatchOutcome()]
    assert journalled(settled)[0][1] == [3]


def test_workspaces_do_not_share_ids() -> None:
    settled = settle([read((b"a", b"1", [1])), read((b"a", b"1", [1]), workspace_id=2)], window())
    assert [journalled(one)[0][1] for one in settled] == [[1], [1]]
