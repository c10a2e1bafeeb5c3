"""The window of batch ids: bounded, and the same after it was saved and read."""

from app.commit.batch_ids import DeduplicationPolicy, DeduplicationWindow, RememberedBatch, digest
from app.commit.payload import BatchReceipt
from app.kinds import Kind


def receipt(workspace_id: int, name: bytes, rows: int = 1) -> BatchReceipt:
    return BatchReceipt(workspace_id, name, digest(Kind.EVENTS, name), rows)


def test_an_id_belongs_to_its_workspace() -> None:
    window = DeduplicationWindow(DeduplicationPolicy())
    window.remember(5, [receipt(1, b"a", rows=3)])
    assert window.find(1, b"a") == RememberedBatch(5, digest(Kind.EVENTS, b"a"), 3)
    assert window.find(2, b"a") is None


def test_the_oldest_ids_leave_a_full_window() -> None:
    window = DeduplicationWindow(DeduplicationPolicy(max_batches=2))
    for lsn, name in enumerate([b"a", b"b", b"c"], 1):
        window.remember(lsn, [receipt(1, name)])
    assert [window.find(1, name) is not None for name in (b"a", b"b", b"c")] == [False, True, True]


def test_a_workspace_with_many_ids_makes_room_for_its_own_first() -> None:
    window = DeduplicationWindow(DeduplicationPolicy(max_batches=100))
    window.remember(1, [receipt(1, b"%d" % n) for n in range(20)])
    window.remember(2, [receipt(2, b"%d" % n) for n in range(2_100)])
    assert all(window.find(1, b"%d" % n) for n in range(20))
    assert [n for n in range(2_100) if window.find(2, b"%d" % n)] == list(range(2_020, 2_100))
    window.remember(3, [receipt(3, b"%d" % n) for n in range(10)])
    assert all(window.find(3, b"%d" % n) for n in range(10)), "the one with the most makes room"
    assert all(window.find(1, b"%d" % n) for n in range(20))
    assert len(window) == 100


def test_ids_leave_when_they_lie_too_many_frames_back() -> None:
    window = DeduplicationWindow(DeduplicationPolicy(max_lsn_distance=10))
    window.remember(1, [receipt(1, b"a")])
    window.remember(11, [])
    assert window.find(1, b"a") is not None
    window.remember(12, [])
    assert window.find(1, b"a") is None


def test_a_saved_window_is_read_back_and_goes_on() -> None:
    policy = DeduplicationPolicy(max_batches=3)
    window = DeduplicationWindow(policy)
    window.remember(1, [receipt(1, b"a"), receipt(2, b"a")])
    window.remember(2, [receipt(1, b"b")])

    read = DeduplicationWindow(policy)
    read.load(window.dump())
    assert len(read) == 3
    assert read.find(2, b"a") == window.find(2, b"a")
    # The journal still holds some of the same frames: replaying them changes nothing.
    read.remember(2, [receipt(1, b"b")])
    assert len(read) == 3
    read.remember(3, [receipt(1, b"c")])
    assert read.find(1, b"a") is None, "the oldest leaves first"
