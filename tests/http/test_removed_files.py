"""Operators remove files by hand: that must not keep new rows from theirs, nor the service from starting."""

from tests.support.payloads import event, numbers
from tests.support.service import Service

CONFIG = {"sinks.parquet": {"max_file_size": "4KB"}}


def test_rows_go_on_in_the_next_file_when_the_newest_was_removed(own_service: Service) -> None:
    service = own_service.start() if not own_service.running else own_service
    service.post_json("events", [event(1)])
    (published,) = service.flush()["files"]
    (service.parquet / published["path"]).unlink()

    service.post_json("events", [event(2)])
    assert service.flush()["flushed_rows"] == 1
    assert numbers(service.table()) == [2]
    assert service.admin("GET", f"/files/{published['path']}").status_code == 404
    assert service.status()["problem"] is None


def test_a_start_without_a_removed_sealed_file_says_so_and_goes_on(own_service: Service) -> None:
    service = own_service.start() if not own_service.running else own_service
    for number in range(12):
        service.post_json("events", [event(number)])
        service.flush()
    sealed = [file for file in service.files() if file["sealed"]]
    assert sealed, "files of 4 KB are sealed after a few flushes"
    removed = service.parquet / sealed[0]["path"]
    lost = sealed[0]["rows"]
    assert service.terminate() == 0
    removed.unlink()

    service.start()
    assert "published files are missing" in service.stderr
    service.post_json("events", [event(100)], wait="file")
    assert service.table().num_rows == 12 - lost + 1


def test_a_file_that_is_taken_away_while_the_service_runs_is_shown_and_said_once(
    own_service: Service,
) -> None:
    service = own_service.start() if not own_service.running else own_service
    for workspace in (1, 2):
        service.post_json("events", [event(1)], wait="file", workspace=workspace)
    path = service.parquet / service.files()[0]["path"]
    hidden = path.with_suffix(".hidden")
    path.rename(hidden)

    def states() -> list[str]:
        return sorted(file["state"] for file in service.files())

    service.wait_until(lambda: states() == ["published", "removed"], 30)
    assert service.metrics()["parquet_sink_missing_files"] == 1
    hidden.rename(path)
    service.wait_until(lambda: states() == ["published", "published"], 30)
    with path.open("r+b") as file:
        file.truncate(10)
    service.wait_until(lambda: states() == ["changed", "published"], 30)
    line = "published files are missing or have been changed"
    service.wait_until(lambda: service.stderr.count(line) == 2, 30)
    service.post_json("events", [event(2)], wait="file")
    service.post_json("events", [event(2)], wait="file", workspace=2)
    assert service.status()["problem"] is None
