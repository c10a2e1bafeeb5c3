"""The campaign at its size for every change; `make torture-iceberg` runs ten minutes of it."""

from pathlib import Path

import pytest

from tests.catalog.two_nodes import campaign
from tests.support.s3_server import S3Server

SECONDS = 15
KILLS = 2
SEED = 20_261_122


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_every_engine_counts_what_was_acknowledged(tmp_path: Path, s3_server: S3Server) -> None:
    result = campaign(SECONDS, SEED, tmp_path, s3_server, kills=KILLS, engines=True)
    print(result)
    assert result.fired == result.kills, "a run in which the fault did not fire is a failure"
    assert result.accepted_rows > 0
    assert result.scans > 0
    assert result.violations == []
    assert len(result.counts) == 5
