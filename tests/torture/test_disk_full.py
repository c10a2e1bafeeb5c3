"""A full disk, at the campaign's size for every change; `make torture-disk-full` runs the large one."""

import os
from pathlib import Path

import pytest

from tests.torture.disk_full import campaign

ROUNDS = 10
SEED = 20_261_122


@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_refused_with_507_and_gone_on_from(tmp_path: Path) -> None:
    result = campaign(ROUNDS, SEED, tmp_path)
    print(result)
    assert result.fired == result.planned, "a run in which the fault did not fire is a failure"
    assert result.violations == []
