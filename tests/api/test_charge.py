"""What a body holds while it arrives, and when it is late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.charge import STEP_BYTES, Charge, due_at
from app.commit.admission import Admission, AdmissionPolicy, Levels
from app.errors import Refused

LEVELS = Levels(0, 1 << 40, 1 << 40)


def admission(inflight: int = 10 * STEP_BYTES) -> Admission:
    policy = AdmissionPolicy(max_inflight_bytes=inflight, max_workspace_inflight_bytes=inflight)
    return Admission(policy, lambda: LEVELS, lambda code: None)


def test_a_large_body_is_charged_as_it_comes_and_a_small_one_once() -> None:
    door = admission()
    large = Charge(door, 1, 8 * STEP_BYTES)
    large.begin(1)
    assert door.inflight_bytes == STEP_BYTES + 1
    large.arrived(5 * STEP_BYTES)
    assert door.inflight_bytes == 6 * STEP_BYTES
    large.settle(8 * STEP_BYTES)
    small = Charge(door, 1, 100)
    small.begin()
    small.arrived(100)
    assert door.inflight_bytes == 8 * STEP_BYTES + 100
    large.end()
    small.end()
    small.end()
    assert door.inflight_bytes == 0


def test_what_has_no_room_holds_what_it_held() -> None:
    door = admission(2 * STEP_BYTES)
    charge = Charge(door, 1, 8 * STEP_BYTES)
    charge.begin(1)
    with pytest.raises(Refused):
        charge.arrived(3 * STEP_BYTES)
    assert door.inflight_bytes == STEP_BYTES + 1
    charge.end()
    assert door.inflight_bytes == 0


@given(
    seconds=st.floats(0.5, 300),
    size=st.integers(1, 10_000_000),
    rate_share=st.floats(1.0, 10.0),
    at=st.floats(0.0, 1.0),
)
def test_a_body_that_comes_evenly_and_in_time_is_never_late(
    seconds: float, size: int, rate_share: float, at: float
) -> None:
    now = seconds * at
    received = min(int(size * now / seconds * rate_share), size)
    assert due_at(0.0, seconds, received, size) >= now - seconds / size


def test_a_body_that_stalls_is_late_long_before_the_end() -> None:
    assert due_at(100.0, 30.0, 1, 10_000_000) < 106
    assert due_at(100.0, 30.0, 10_000_000, 10_000_000) == 130
