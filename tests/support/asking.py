"""Questions to a service, over HTTP and on the command line."""

import json
import subprocess
import sys
from typing import Any

from tests.support.service import KEYS, REPOSITORY, Service


def asked(service: Service, sql: str, **params: str) -> Any:
    """The rows that POST /query answers with the key of workspace 1."""
    headers = {"Authorization": f"Bearer {KEYS[1]}"}
    answer = service.http.post("/query", content=sql, params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def query(service: Service, sql: str, *options: str) -> Any:
    """The rows that `parquet-sink query` prints, whether the service runs or not."""
    config = ["--config", str(service.directory / "parquet-sink.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "query", sql, "--format", "json", *options, *config],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
