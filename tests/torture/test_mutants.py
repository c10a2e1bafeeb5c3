"""Every protection is guarded by something in the suite: without it, that fails."""

import pytest

from tests.support.service import REPOSITORY
from tests.torture.mutants import MUTANTS
from tests.torture.mutation import Mutant, attempt, control, table


@pytest.mark.heavy
@pytest.mark.timeout(400)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_protection_that_is_taken_away_is_missed(mutant: Mutant) -> None:
    outcome = attempt(mutant)
    assert outcome.failed, f"nothing fails without it: {mutant}\n{outcome.said}"


@pytest.mark.heavy
@pytest.mark.timeout(400)
@pytest.mark.parametrize("catcher", sorted({mutant.catcher for mutant in MUTANTS}))
def test_what_catches_them_passes_where_nothing_is_taken_away(catcher: str) -> None:
    outcome = control(catcher)
    assert outcome.passed, outcome.said


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_stands_where_it_is_looked_for(mutant: Mutant) -> None:
    assert mutant.text in (REPOSITORY / mutant.file).read_text("utf-8")
    assert mutant.text != mutant.replacement


def test_the_documented_table_of_mutants_is_the_one_that_is_run() -> None:
    assert table(MUTANTS) in (REPOSITORY / "docs" / "durability.md").read_text("utf-8")
