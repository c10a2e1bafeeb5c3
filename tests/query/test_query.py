"""`parquet-sink query` shows each acknowledged row once at every moment, whatever the service does."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.query.query_campaign import CONFIG as CAMPAIGN_CONFIG
from tests.query.query_campaign import campaign, compare
from tests.support.bucket_service import BucketService
from tests.support.payloads import DEVICE, event, log_line
from tests.support.payloads import snapshot as snapshot_row
from tests.support.s3_server import S3Server
from tests.support.service import REPOSITORY, Service
from tests.support.workers_service import WorkersService

CONFIG = {"sinks.parquet": {"flush_interval": "3600s"}}
ROUNDS = 50
SEED = 20_261_122


def ask(service: Service, sql: str, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "app.cli", "query", sql, *options]
    config = str(service.directory / "parquet-sink.toml")
    return subprocess.run(
        [*command, "--config", config],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def rows(service: Service, sql: str, *options: str) -> list[dict[str, Any]]:
    done = ask(service, sql, "--format", "json", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def test_a_row_is_there_before_any_flush_in_readable_columns(own_service: Service) -> None:
    own_service.post_json("events", [event(1, properties={"plan": "pro"})])
    own_service.post_json("logs", [log_line(1)])
    own_service.post_json("snapshots", [snapshot_row(1)])

    (found,) = rows(
        own_service,
        "SELECT event_name, device_id, timestamp, source_ip, workspace, payload->>'plan' AS plan FROM events",
    )
    assert found["plan"] == "pro"
    assert (found["event_name"], found["device_id"], found["workspace"]) == ("page_view", DEVICE, 1)
    assert found["source_ip"] == "127.0.0.1"
    assert found["timestamp"].startswith("2023-11-14 22:13:20")
    assert own_service.data_files() == []
    assert rows(own_service, "SELECT count(*) AS n FROM logs") == [{"n": 1}]
    assert rows(own_service, "SELECT count(*) AS n FROM snapshots") == [{"n": 1}]


def test_one_workspace_or_some_days_can_be_asked_alone(own_service: Service) -> None:
    for workspace in (1, 2):
        own_service.post_json("events", [event(1)], workspace=workspace)
        own_service.flush()
        own_service.post_json("events", [event(2)], workspace=workspace)
    sql = "SELECT workspace, count(*) AS n FROM events GROUP BY workspace ORDER BY workspace"
    assert rows(own_service, sql) == [{"workspace": 1, "n": 2}, {"workspace": 2, "n": 2}]
    assert rows(own_service, sql, "--workspace", "2") == [{"workspace": 2, "n": 2}]
    assert rows(own_service, sql, "--since", "2030-01-01") == []


def test_answers_come_in_several_forms(own_service: Service, tmp_path: Path) -> None:
    own_service.post_json("events", [event(1), event(2)])
    sql = "SELECT event_name, payload->'number' AS number FROM events ORDER BY timestamp"
    assert "page_view" in ask(own_service, sql).stdout
    assert ask(own_service, sql, "--format", "csv").stdout == "event_name,number\npage_view,1\npage_view,2\n"
    lines = ask(own_service, sql, "--format", "ndjson").stdout.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2]
    output = tmp_path / "out.parquet"
    done = ask(own_service, sql, "--format", "parquet", "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert pq.read_table(output).num_rows == 2


@pytest.mark.parametrize(
    ("sql", "said"),
    [("SELECT nothing FROM events", "nothing"), ("SELEC", "syntax error"), ("FROM users", "users")],
)
def test_a_wrong_question_is_told_what_is_wrong(service: Service, sql: str, said: str) -> None:
    done = ask(service, sql)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.heavy
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [Service, WorkersService])
def test_each_acknowledged_row_is_there_once_at_every_moment(tmp_path: Path, kind: type[Service]) -> None:
    result = campaign(ROUNDS, SEED, tmp_path, partial(kind, config=CAMPAIGN_CONFIG))
    print(result)
    assert result.rounds == ROUNDS
    assert min(result.kills, result.while_down, result.rows) > 0
    assert result.violations == []


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_each_acknowledged_row_is_there_once_over_a_bucket(tmp_path: Path, s3_server: S3Server) -> None:
    result = campaign(
        ROUNDS, SEED, tmp_path, partial(BucketService, config=CAMPAIGN_CONFIG, endpoint=s3_server.endpoint)
    )
    print(result)
    assert result.rounds == ROUNDS
    assert min(result.kills, result.while_down, result.rows) > 0
    assert result.violations == []


def test_the_campaign_notices_rows_that_are_missing_or_double() -> None:
    assert compare([0, 1, 2], 3) == []
    assert compare([0, 2, 2, 7], 3) == [
        "1 of 3 rows missing, as [1]",
        "1 of 3 rows double, as [2]",
        "1 of 3 rows never sent, as [7]",
    ]
