"""The simulation behind docs/scaling.md: every row is in one place, and simple cases come out as on paper."""

from dataclasses import replace
from typing import Final

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulate_scaling import YEAR_S, Outcome, Scenario, percentile, shares, simulate

CALM: Final = Scenario(
    seconds=200,
    nodes=2,
    rows_per_s=1_000,
    burst_factor=1.0,
    ingest_rate=5_000,
    publish_rate=5_000,
    buffer_rows=1_000_000,
    lag_s=20,
    crash_every_s=1_000 * YEAR_S,
    outage_every_s=1_000 * YEAR_S,
)

SCENARIOS: Final = st.builds(
    Scenario,
    seconds=st.integers(1, 300),
    nodes=st.integers(1, 6),
    rows_per_s=st.floats(0, 5_000),
    burst_every_s=st.floats(1, 100),
    burst_s=st.floats(1, 50),
    burst_factor=st.floats(0, 10),
    ingest_rate=st.integers(0, 3_000),
    publish_rate=st.integers(0, 3_000),
    replay_rate=st.integers(1, 5_000),
    buffer_rows=st.integers(0, 50_000),
    journal_rows=st.integers(0, 50_000),
    lag_s=st.integers(1, 100),
    crash_every_s=st.floats(1, 500),
    restart_s=st.integers(0, 30),
    disk_lost=st.floats(0, 1),
    replace_s=st.integers(0, 60),
    outage_every_s=st.floats(1, 200),
    outage_s=st.floats(1, 100),
)


@given(scenario=SCENARIOS, seed=st.integers(0, 2**32))
def test_every_row_is_in_one_place(scenario: Scenario, seed: int) -> None:
    outcome = simulate(scenario, seed)

    assert outcome.accepted == outcome.published + outcome.held + outcome.lost
    assert outcome.arrived == outcome.accepted + outcome.waiting
    assert outcome.lag_rows.sum() == outcome.published
    assert (outcome.backlog >= 0).all()
    assert outcome.backlog.max() <= min(scenario.buffer_rows, scenario.journal_rows)
    assert outcome.lost == 0 or outcome.disks_lost > 0
    assert (outcome.lag_s >= 0).all()


@given(scenario=SCENARIOS, seed=st.integers(0, 2**32))
def test_the_seed_decides(scenario: Scenario, seed: int) -> None:
    first, second = simulate(scenario, seed), simulate(scenario, seed)

    assert counts(first) == counts(second)
    assert np.array_equal(first.backlog, second.backlog)


def test_nothing_fails_and_no_row_waits_longer_than_it_should() -> None:
    outcome = simulate(CALM, 1)

    assert outcome.waiting_max == 0
    assert outcome.lost == 0
    assert CALM.lag_s - 1 <= outcome.lag_s.max() <= CALM.lag_s + 5
    assert 0 < outcome.held < 30_000


def test_an_outage_delays_rows_by_its_length_and_loses_none() -> None:
    outcome = simulate(replace(CALM, outage_every_s=60, outage_s=40), 3)

    assert outcome.outage_ticks > 20, "the fault fired"
    assert outcome.lost == 0
    assert outcome.lag_s.max() > CALM.lag_s + 5


def test_a_small_buffer_makes_clients_wait_during_an_outage() -> None:
    outcome = simulate(replace(CALM, outage_every_s=60, outage_s=40, buffer_rows=2_000), 3)

    assert outcome.waiting_max > 0
    assert outcome.backlog.max() == 2_000


def test_a_crash_loses_nothing_unless_the_disk_goes() -> None:
    crashing = replace(CALM, crash_every_s=50, restart_s=2, replace_s=5, disk_lost=0.0)

    kept, lost = simulate(crashing, 4), simulate(replace(crashing, disk_lost=1.0), 4)

    assert kept.crashes > 2
    assert kept.lost == 0
    assert lost.disks_lost > 2
    assert 0 < lost.lost <= lost.disks_lost * int(lost.backlog.max() + 5_000)


def test_rows_are_shared_whole_among_those_that_are_there() -> None:
    among = np.array([True, False, True, True])

    assert shares(8, among).tolist() == [3, 0, 3, 2]
    assert shares(8, np.array([False])).tolist() == [0]


def test_percentiles_count_weights() -> None:
    values, weights = np.array([1, 5, 9]), np.array([98, 1, 1])

    assert [percentile(values, weights, share) for share in (0.5, 0.98, 0.99, 1.0)] == [1, 1, 5, 9]


def counts(outcome: Outcome) -> tuple[int, ...]:
    return (outcome.accepted, outcome.published, outcome.held, outcome.lost, outcome.waiting_max)
