import pytest

from tests.parquet.crash_campaign import Result, World, any_fault, crash_in_recovery, power_loss

SEED = 20260102


@pytest.mark.parametrize(("campaign", "size"), [(any_fault, 60), (power_loss, 300), (crash_in_recovery, 60)])
def test_what_was_put_is_published_exactly_once_whatever_fails(campaign: object, size: int) -> None:
    assert callable(campaign)
    result: Result = campaign(SEED, size)
    print(result)
    assert result.passed, str(result)


@pytest.mark.parametrize(("campaign", "size"), [(any_fault, 30), (power_loss, 100), (crash_in_recovery, 20)])
def test_rows_placed_by_when_they_happened_are_published_exactly_once_whatever_fails(
    campaign: object, size: int
) -> None:
    assert callable(campaign)
    result: Result = campaign(SEED, size, World.of_events)
    print(result)
    assert result.passed, str(result)


@pytest.mark.parametrize(("campaign", "size"), [(any_fault, 40), (power_loss, 100), (crash_in_recovery, 30)])
@pytest.mark.parametrize("new", [World.expiring, World.expiring_bucket], ids=["directory", "bucket"])
def test_what_is_too_old_is_removed_exactly_once_whatever_fails(
    campaign: object, size: int, new: object
) -> None:
    assert callable(campaign)
    result: Result = campaign(SEED, size, new)
    print(result)
    assert result.passed, str(result)


@pytest.mark.parametrize(("campaign", "size"), [(any_fault, 20), (power_loss, 60), (crash_in_recovery, 20)])
@pytest.mark.parametrize("new", [World.laying, World.forgetting], ids=["laid again", "forgotten"])
def test_a_file_is_laid_again_exactly_once_whatever_fails(campaign: object, size: int, new: object) -> None:
    assert callable(campaign)
    result: Result = campaign(SEED, size, new)
    print(result)
    assert result.passed, str(result)
