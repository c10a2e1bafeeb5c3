"""Overload at the campaign's length for every change; `make torture-overload` runs the long one."""

from pathlib import Path

import pytest

from tests.torture.overload import campaign

SECONDS = 10.0
SEED = 20_261_122


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_ten_times_the_load_is_refused_in_bounded_memory_and_loses_nothing(tmp_path: Path) -> None:
    result = campaign(SECONDS, SEED, tmp_path)
    print(result)
    assert result.fired >= result.planned, "a run in which the fault did not fire is a failure"
    assert result.statuses[202] > 0
    assert result.statuses[429] + result.statuses[503] > 0
    assert result.violations == []
