"""Files of three workspaces and three days, written by the real service over HTTP under a set clock."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from tests.engines.sent_rows import DAYS, SENT, noon
from tests.support.service import Service, running_service


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory in which `parquet/` stands. The service still runs while the queries do."""
    with running_service(tmp_path_factory.mktemp("warehouse"), clock=noon(DAYS[0])) as service:
        for day in DAYS:
            service.clock = noon(day)
            service.restart()
            post_day(service, day)
            service.flush()
        yield service.directory


def post_day(service: Service, day: str) -> None:
    for call, rows in SENT.items():
        of_day = (sent for sent in rows() if sent.day == day)
        for workspace, sent in groupby(of_day, key=lambda sent: sent.workspace):
            service.post_json(call, [each.row for each in sent], workspace=workspace)


@pytest.fixture
def in_warehouse(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory that the documented paths are relative to."""
    monkeypatch.chdir(warehouse)
    return warehouse
