"""`parquet-sink query` shows each acknowledged row once at every moment, whatever the service does."""

import json
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from app.disk.durable_fs import DurableFS
from app.publish.paths import SinkPaths
from app.query.ask import connect
from app.query.snapshot import Selection, Snapshot
from tests.support.payloads import DEVICE, event, log_line
from tests.support.payloads import snapshot as snapshot_row
from tests.support.service import KEYS, REPOSITORY, Service

CONFIG = {"sinks.parquet": {"flush_interval": "3600s"}}
ROUNDS = 50


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
def test_each_acknowledged_row_is_there_once_at_every_moment(own_service: Service) -> None:
    """Random batches, flushes under way, kills; the service is asked while it runs and while it is down."""
    chance = random.Random(20_261_122)
    sent = 0
    for _ in range(ROUNDS):
        for _ in range(chance.randint(1, 3)):
            count = chance.randint(1, 20)
            workspace = chance.choice((1, 2))
            own_service.post_json("events", [event(sent + n) for n in range(count)], workspace=workspace)
            sent += count
        flushing = threading.Thread(target=flush, args=(own_service,))
        flushes, kills = chance.random() < 0.6, chance.random() < 0.2
        if flushes:
            flushing.start()
        if kills:
            own_service.kill9()
        assert sorted(asked_here(own_service)) == list(range(sent))
        if flushes:
            flushing.join()
        if kills:
            own_service.start()


def asked_here(service: Service) -> list[int]:
    """The numbers of all rows, as the command finds them, without a process for each question."""
    snapshot = Snapshot.take(DurableFS(), SinkPaths(service.parquet, service.journal), Selection())
    try:
        connection = connect(snapshot, payload_is_json=True, promoted={})
        found = connection.sql("SELECT CAST(payload->>'number' AS INTEGER) FROM events").fetchall()
        return [number for (number,) in found]
    finally:
        snapshot.close()


def flush(service: Service) -> None:
    """That may be cut off."""
    try:
        for key in (KEYS[1], KEYS[2]):
            httpx.post(f"{service.base_url}/flush", headers={"X-API-Key": key}, timeout=30)
    except httpx.TransportError:
        return
