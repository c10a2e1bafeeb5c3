"""Crashes, errors and power cuts of a node with files on an object store; disk and store are simulated."""

from collections.abc import Callable

import pytest

from tests.parquet.crash_campaign import Result, World, any_fault, crash_in_recovery, power_loss

SEED = 20260102


@pytest.mark.parametrize(("campaign", "size"), [(any_fault, 30), (power_loss, 150), (crash_in_recovery, 60)])
def test_what_was_put_is_in_the_bucket_exactly_once_whatever_fails(
    campaign: Callable[..., Result], size: int
) -> None:
    result = campaign(SEED, size, World.with_bucket)
    print(result)
    assert result.passed, str(result)
