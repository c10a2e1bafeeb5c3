"""The campaigns over the whole service at their sizes for every change; `make torture-*` runs large ones."""

import logging
from collections.abc import Callable, Iterator

import pytest

from tests.torture.parts import Result
from tests.torture.whole_service import (
    any_fault,
    any_fault_while_blocked,
    crash_everywhere,
    crash_in_recovery,
    error_everywhere,
    failed_syncs,
    model,
    power_loss,
)

SEED = 20_261_122


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Every fault is logged by the service as what it is: some thousand tracebacks."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("campaign", "size"),
    [(model, 20), (failed_syncs, 5), (any_fault, 40), (any_fault_while_blocked, 20), (power_loss, 200)],
)
def test_what_was_acknowledged_is_in_the_files_once_whatever_fails(
    campaign: Callable[[int, int], Result], size: int
) -> None:
    result = campaign(SEED, size)
    print(result)
    assert result.passed, str(result)


@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("campaign", "size"),
    [
        (model, 200),
        (crash_everywhere, 1),
        (error_everywhere, 1),
        (failed_syncs, 20),
        (any_fault_while_blocked, 200),
        (power_loss, 5_000),
        (crash_in_recovery, 500),
    ],
)
def test_the_same_at_the_size_for_every_change(campaign: Callable[[int, int], Result], size: int) -> None:
    result = campaign(SEED, size)
    print(result)
    assert result.passed, str(result)
