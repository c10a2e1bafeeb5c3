"""Old files are removed by the service itself; the account says what became of their rows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.payloads import event, log_line, numbers
from tests.support.service import REPOSITORY, NewService, Service, running

BACKENDS = ["directory", "bucket"]
FIRST_DAY = "2026-03-01T23:10:00+00:00"
LATER = "2026-03-05T06:30:00+00:00"
RETENTION = {
    "retention": [
        {"workspace": "*", "older_than": "2d"},
        {"workspace": "*", "kind": "logs", "older_than": "30d"},
        {"workspace": 2, "older_than": "365d"},
    ]
}


def dry_run(service: Service, clock: str, *options: str) -> subprocess.CompletedProcess[str]:
    module = ["tests.support.shifted_clock", clock, "retention", "--dry-run", *options]
    config = ["--config", str(service.directory / "parquet-sink.toml")]
    return subprocess.run(
        [sys.executable, "-m", *module, *config], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def line(service: Service, workspace: int, kind: str = "events") -> dict[str, int]:
    (found,) = [
        row for row in service.status()["rows"] if (row["workspace_id"], row["kind"]) == (workspace, kind)
    ]
    assert found["accepted"] == (
        found["published"] + found["buffered"] + found["quarantined"] + found["removed"]
    )
    return found


def test_files_that_are_too_old_go_and_the_account_says_so(new_service: NewService, tmp_path: Path) -> None:
    with running(new_service(tmp_path, RETENTION, clock=FIRST_DAY)) as service:
        for workspace in (1, 2):
            service.post_json("events", [event(1), event(2)], workspace=workspace)
        service.post_json("logs", [log_line(1)])
        service.flush()
        assert dry_run(service, FIRST_DAY).stdout == "no file is old enough to be removed\n"
        assert dry_run(service, LATER).stdout.splitlines()[-1].startswith("1 files with 2 rows, ")
        (would_go,) = json.loads(dry_run(service, LATER, "--json").stdout)
        assert would_go["path"] == "1/2026-03-01/events.parquet"
        assert len(service.data_files()) == 3, "nothing has changed"
        assert service.terminate() == 0

        service.clock = LATER
        service.start()
        service.wait_until(lambda: service.status()["retention"]["removed_files"] == 1, 20)
        service.wait_until(lambda: service.status()["retention"]["to_be_deleted"] == 0, 20)
        assert [path.relative_to(service.parquet).as_posix() for path in service.data_files()] == [
            "1/2026-03-01/logs.parquet",
            "2/2026-03-01/events.parquet",
        ]
        assert (line(service, 1)["removed"], line(service, 1)["published"]) == (2, 0)
        assert line(service, 2)["removed"] == line(service, 1, "logs")["removed"] == 0
        assert service.metrics()["parquet_sink_retention_files_removed_total"] == 1
        assert service.metrics()["parquet_sink_retention_rows_removed_total"] == 2
        assert "removed 1 files with 2 rows, the first is 1/2026-03-01/events.parquet" in service.stderr
        assert service.admin("GET", "/files/1/2026-03-01/events.parquet").status_code == 404
        assert {file["path"] for file in service.files()} == {
            "1/2026-03-01/logs.parquet",
            "2/2026-03-01/events.parquet",
        }
        usage = service.admin("GET", "/usage", params={"from": "2026-03-01", "to": "2026-03-05"}).json()
        assert sum(each["rows"] for each in usage["usage"]) == 5, "what was sent stays counted"

        service.post_json("events", [event(3)])
        service.kill9()
        service.start()
        service.flush()
        assert numbers(service.table("events", 1)) == [3]
        assert (line(service, 1)["accepted"], line(service, 1)["removed"]) == (3, 2)
        assert "noticed at the start" not in service.stderr


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (
            {"retention": [{"workspace": 1, "older_than": "90 days"}]},
            'retention[1].older_than: "90 days" is not a duration',
        ),
        (
            {"retention": [{"workspace": 1, "older_than": "9d"}, {"workspace": 1, "older_than": "8d"}]},
            "workspace 1 has two retentions; keep one of them",
        ),
        ({"retention": [{"older_than": "9d"}]}, "retention[1].workspace"),
        (
            RETENTION | {"catalog": {"type": "iceberg"}},
            "files that are registered in tables are not removed yet",
        ),
        (
            RETENTION | {"journal": {"type": "kafka", "brokers": "b:9092", "topic": "t"}},
            "files are not removed yet",
        ),
    ],
)
@pytest.mark.parametrize("backend", ["directory"])
def test_what_is_wrong_is_said_before_anything_is_removed(
    config: dict[str, object], complaint: str, tmp_path: Path, backend: str
) -> None:
    with Service(tmp_path, config) as service:
        checked = subprocess.run(
            [sys.executable, "-m", "app.cli", "check-config", "--config", service._config_file],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
    assert checked.returncode == 1
    assert complaint in checked.stderr


def test_without_retention_all_is_kept(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        refused = dry_run(service, LATER)
    assert refused.returncode == 1
    assert refused.stderr == ("parquet-sink: the configuration has no [[retention]]: all files are kept\n")
