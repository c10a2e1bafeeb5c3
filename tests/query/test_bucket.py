"""Questions where the files are in a bucket, by the command and over HTTP."""

import json
import subprocess
import sys
from typing import Any

from tests.support.payloads import event
from tests.support.service import KEYS, REPOSITORY, Service

BACKENDS = ("bucket", "workers")


def test_rows_in_the_bucket_and_in_the_journal_are_there_once(service: Service) -> None:
    for workspace in (1, 2):
        service.post_json("events", [event(1), event(2)], workspace=workspace)
    service.flush()
    service.post_json("events", [event(3)])
    sql = (
        "SELECT workspace, count(*) AS n, max(payload->>'number') AS last FROM events "
        "GROUP BY ALL ORDER BY ALL"
    )

    def answered(workspace: int) -> Any:
        headers = {"Authorization": f"Bearer {KEYS[workspace]}"}
        response = service.http.post("/query", content=sql, headers=headers)
        assert response.status_code == 200, response.text
        return response.json()

    first, second = {"workspace": 1, "n": 3, "last": "3"}, {"workspace": 2, "n": 2, "last": "2"}
    assert (answered(1), answered(2)) == ([first], [second])
    config = str(service.directory / "parquet-sink.toml")
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "query", sql, "--format", "json", "--config", config],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [first, second]
