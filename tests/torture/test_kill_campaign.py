"""The campaign at its size for every change; `make torture-kill` runs the large one."""

from functools import partial
from pathlib import Path

import pytest

from tests.support.bucket_service import BucketService
from tests.support.catalog_service import CatalogService
from tests.support.s3_server import S3Server
from tests.support.service import Service
from tests.torture.kill_campaign import AT_NOON, HAPPENED, NO_MEMORY, campaign, campaign_of_workers

KILLS = 50
KILLS_WITHOUT_MEMORY = 20
KILLS_OF_LATE_ROWS = 15
KILLS_OVER_A_BUCKET = 10
KILLS_WITH_A_CATALOG = 10
KILLS_OF_WORKERS = 15
SEED = 20_261_122


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_acknowledged_rows_survive_kill_9_exactly_once(tmp_path: Path) -> None:
    result = campaign(KILLS, SEED, tmp_path)
    print(result)
    assert result.fired == result.planned, "a run in which the fault did not fire is a failure"
    assert result.accepted_rows > 0
    assert result.violations == []


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_rows_that_wait_in_the_journal_alone_survive_it_too(tmp_path: Path) -> None:
    result = campaign(KILLS_WITHOUT_MEMORY, SEED, tmp_path, config=NO_MEMORY)
    print(result)
    assert result.fired == result.planned, "a run in which the fault did not fire is a failure"
    assert result.accepted_rows > 0
    assert result.violations == []


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_rows_placed_by_when_they_happened_survive_it_too(tmp_path: Path) -> None:
    service = partial(Service, clock=AT_NOON)
    result = campaign(KILLS_OF_LATE_ROWS, SEED, tmp_path, service, config=HAPPENED)
    print(result)
    assert result.fired == result.planned, "a run in which the fault did not fire is a failure"
    assert result.accepted_rows > 0
    assert result.violations == []


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_acknowledged_rows_are_in_a_bucket_exactly_once(tmp_path: Path, s3_server: S3Server) -> None:
    result = campaign(
        KILLS_OVER_A_BUCKET, SEED, tmp_path, partial(BucketService, endpoint=s3_server.endpoint)
    )
    print(result)
    assert result.fired == result.planned, "a run in which the fault did not fire is a failure"
    assert result.accepted_rows > 0
    assert result.violations == []


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_acknowledged_rows_are_in_tables_exactly_once(tmp_path: Path) -> None:
    result = campaign(KILLS_WITH_A_CATALOG, SEED, tmp_path, CatalogService)
    print(result)
    assert result.fired == result.planned, "a run in which the fault did not fire is a failure"
    assert result.accepted_rows > 0
    assert result.violations == []


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_a_killed_worker_or_all_of_them_lose_nothing(tmp_path: Path) -> None:
    result = campaign_of_workers(KILLS_OF_WORKERS, SEED, tmp_path)
    print(result)
    assert result.fired == result.planned, "a run in which the fault did not fire is a failure"
    assert result.accepted_rows > 0
    assert result.violations == []
