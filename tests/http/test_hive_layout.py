"""`layout = "hive"`: folders that engines choose files by; old files stay, and are listed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.payloads import event, log_line, numbers
from tests.support.service import REPOSITORY, NewService, Service, running

BACKENDS = ["directory", pytest.param("bucket", marks=pytest.mark.heavy)]
EVENING = "2026-03-01T22:10:00+00:00"
NEXT_DAY = "2026-03-02T06:30:00+00:00"


def on_disk(service: Service) -> list[str]:
    return [path.relative_to(service.parquet).as_posix() for path in service.data_files()]


def test_a_layout_that_is_changed_leaves_old_files_where_they_are(
    new_service: NewService, tmp_path: Path, backend: str
) -> None:
    plain = {"sinks.parquet": {"flush_interval": "3600s"}}
    hive = {"sinks.parquet": {"flush_interval": "3600s", "layout": "hive"}}
    with running(new_service(tmp_path, plain, clock=EVENING)) as service:
        service.post_json("events", [event(1)])
        service.flush()
        assert service.terminate() == 0
    grows = ["1/2026-03-01/events.parquet"]
    last = "workspace=1/date=2026-03-01/events-0001.parquet"
    with running(new_service(tmp_path, hive, EVENING, **_same_place(service))) as service:
        service.post_json("events", [event(2)])
        service.post_json("logs", [log_line(1)])
        service.flush()
        first_day = [*grows, "workspace=1/date=2026-03-01/logs.parquet"]
        if backend == "bucket":  # where no file grows
            first_day.append(last)
        assert sorted(on_disk(service)) == sorted(first_day)
        assert numbers(service.table("events")) == [1, 2]
        service.kill9()
        service.clock = NEXT_DAY
        service.start()
        service.post_json("events", [event(3)])
        service.flush()
        assert sorted(on_disk(service)) == sorted([*first_day, "workspace=1/date=2026-03-02/events.parquet"])
        listed = service.files()
        assert sorted(file["path"] for file in listed) == sorted(on_disk(service))
        assert {file["date"] for file in listed} == {"2026-03-01", "2026-03-02"}
        for file in listed:
            answer = service.admin("GET", f"/files/{file['path']}")
            assert len(answer.content) == file["bytes"]
        assert sorted(numbers(service.table("events"))) == [1, 2, 3]
        assert "noticed at the start" not in service.stderr


def _same_place(service: Service) -> dict[str, str]:
    prefix = getattr(service, "prefix", None)
    return {} if prefix is None else {"prefix": prefix}


def test_hours_have_a_folder_and_a_lost_manifest_is_read_from_the_files(tmp_path: Path) -> None:
    config = {"sinks.parquet": {"rotation": "hourly", "layout": "hive"}}
    with running(Service(tmp_path, config, EVENING)) as service:
        service.post_json("events", [event(1), event(2)])
        service.flush()
        (path,) = on_disk(service)
        assert path == "workspace=1/date=2026-03-01/hour=22/events.parquet"
        service.kill9()
        (service.journal / "manifest").unlink()
        service.start()
        (file,) = service.files()
        assert (file["path"], file["hour"], file["rows"]) == (path, 22, 2)


def test_a_promoted_column_may_not_be_named_as_a_folder(tmp_path: Path) -> None:
    promoted = {"kind": "events", "path": "$.date", "name": "Date", "type": "string"}
    config = {"sinks.parquet": {"layout": "hive"}, "sinks.parquet.promote": [promoted]}
    with Service(tmp_path, config) as service:
        checked = subprocess.run(
            [sys.executable, "-m", "app.cli", "check-config", "--config", service._config_file],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
    assert checked.returncode == 1
    assert 'instead of the promoted column "Date"' in checked.stderr
