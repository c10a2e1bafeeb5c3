"""Backpressure: what is refused, with what, and that what left is forgotten."""

from collections import Counter

import msgspec
import pytest

from app.commit.admission import Admission, AdmissionPolicy, Levels
from app.errors import DiskFull, Overloaded, Refused, WorkspaceOverShare

POLICY = AdmissionPolicy(
    max_inflight_bytes=100,
    max_workspace_inflight_bytes=60,
    max_journal_bytes=10_000,
    max_workspace_journal_bytes=7_000,
    min_free_bytes=500,
    resume_free_bytes=800,
    min_free_inodes=10,
)
CALM = Levels(journal_bytes=0, free_bytes=10_000, free_inodes=1_000)


class Door:
    """An admission whose levels a test sets."""

    def __init__(self) -> None:
        self.levels = CALM
        self.refused: list[str] = []
        self.journal_of = Counter[int]()
        self.admission = Admission(
            POLICY, lambda: self.levels, self.refused.append, journal_of=self.journal_of.__getitem__
        )

    def set(self, **levels: int) -> None:
        self.levels = msgspec.structs.replace(self.levels, **levels)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.mark.parametrize(
    ("levels", "error", "code"),
    [
        ({"journal_bytes": 10_001}, Overloaded, "journal_full"),
        ({"free_bytes": 499}, DiskFull, "disk_full"),
        ({"free_inodes": 9}, DiskFull, "disk_full"),
    ],
)
def test_each_level_beyond_its_limit_refuses_and_says_when_to_come_again(
    door: Door, levels: dict[str, int], error: type[Refused], code: str
) -> None:
    door.set(**levels)
    with pytest.raises(error) as refusal:
        door.admission.enter(1, 10)
    assert refusal.value.code == code
    assert refusal.value.retry_after_s >= 1
    assert door.refused == [code]
    assert door.admission.inflight_bytes == 0
    assert door.admission.reasons()

    door.set(**msgspec.structs.asdict(CALM))
    door.admission.enter(1, 10)
    assert door.admission.reasons() == []


def test_a_workspace_has_its_share_and_others_still_enter(door: Door) -> None:
    door.admission.enter(1, 60)
    with pytest.raises(WorkspaceOverShare):
        door.admission.enter(1, 1)
    door.admission.enter(2, 40)
    with pytest.raises(Overloaded):
        door.admission.enter(3, 1)


def test_a_workspace_has_its_share_of_the_journal_too(door: Door) -> None:
    door.set(journal_bytes=8_000)
    door.journal_of.update({1: 7_001, 2: 999})
    with pytest.raises(WorkspaceOverShare, match="waiting to be written"):
        door.admission.enter(1, 1)
    door.admission.enter(2, 1)
    assert door.refused == ["workspace_over_share"]
    assert door.admission.reasons() == [], "the service as a whole takes batches"
    door.journal_of[1] = 7_000
    door.admission.enter(1, 1)


def test_what_is_answered_makes_room(door: Door) -> None:
    door.admission.enter(1, 60)
    door.admission.resize(1, 60, 5)
    door.admission.leave(1, 5)
    assert door.admission.inflight_bytes == 0
    door.admission.enter(1, 60)


@pytest.mark.parametrize(("others", "error"), [(0, WorkspaceOverShare), (60, Overloaded)])
def test_what_grows_beyond_the_room_there_is_is_refused_and_stays_as_it_was(
    door: Door, others: int, error: type[Refused]
) -> None:
    door.admission.enter(2, others)
    door.admission.enter(1, 5)
    door.admission.resize(1, 5, 40)
    with pytest.raises(error) as refusal:
        door.admission.resize(1, 40, 61)
    assert door.refused == [refusal.value.code]
    assert door.admission.inflight_bytes == others + 40
    door.admission.leave(1, 40)
    assert door.admission.inflight_bytes == others


def test_a_full_disk_is_taken_as_full_until_the_high_water_mark(door: Door) -> None:
    door.set(free_bytes=499)
    with pytest.raises(DiskFull):
        door.admission.enter(1, 1)
    door.set(free_bytes=799)
    with pytest.raises(DiskFull):
        door.admission.enter(1, 1)
    door.set(free_bytes=800)
    door.admission.enter(1, 1)
    door.set(free_bytes=501)
    door.admission.enter(1, 1)


def test_a_closed_door_says_why(door: Door) -> None:
    door.admission.closed = "shutting down"
    with pytest.raises(Overloaded, match="shutting down"):
        door.admission.enter(1, 1)
