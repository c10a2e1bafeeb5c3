"""Faults while files are published: exactly once all the same."""

from pathlib import Path

from tests.object_store.fault_campaign import campaign
from tests.support.s3_server import S3Server

FAULTS = 200
SEED = 20_261_122


def test_200_faults_during_publishing_lose_and_double_nothing(tmp_path: Path, s3_server: S3Server) -> None:
    result = campaign(tmp_path, s3_server.port, FAULTS, SEED)
    print(result)
    assert result.fired.total() >= FAULTS, "a run in which the fault did not fire is a failure"
    assert min(result.rows, result.restarts, result.foreign) > 0
    assert result.violations == []
