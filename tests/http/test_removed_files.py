"""Operators remove files by hand: that must not keep new rows from theirs, nor the service from starting."""

from tests.support.payloads import event, numbers
from tests.support.service import Service

CONFIG = {"sinks.parquet": {"max_file_size": "4KB"}}


def count(service: Service, kind: str) -> int:
    response = service.admin("POST", "/query", content=f"SELECT count(*) AS n FROM {kind}")
    assert response.status_code == 200, response.text
    return int(response.json()[0]["n"])


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
    # A query reads what is left: of that workspace, of its other kinds, and of all workspaces.
    service.post_json("logs", [{"message": "of the same day"}], wait="file")
    assert count(service, "events") == 1
    assert count(service, "logs") == 1
    line = "published files are missing or have been changed"
    service.wait_until(lambda: service.stderr.count(line) == 2, 30)
    service.post_json("events", [event(2)], wait="file")
    service.post_json("events", [event(2)], wait="file", workspace=2)
    assert service.status()["problem"] is None


def test_a_query_reads_what_is_left_when_a_file_stands_in_a_folders_place(own_service: Service) -> None:
    service = own_service.start() if not own_service.running else own_service
    for workspace in (1, 2):
        service.post_json("events", [event(1)], wait="file", workspace=workspace)
    (service.parquet / "2").rename(service.directory / "away")
    (service.parquet / "2").write_text("in the way")
    assert count(service, "events") == 1


def test_a_query_says_that_a_file_cannot_be_read(own_service: Service) -> None:
    service = own_service.start() if not own_service.running else own_service
    service.post_json("events", [event(1)], wait="file")
    (path,) = service.data_files()
    path.unlink()
    path.symlink_to(path)
    response = service.admin("POST", "/query", content="SELECT count(*) FROM events")
    assert (response.status_code, response.json()["code"]) == (422, "cannot_ask")
    assert "cannot be read" in response.json()["message"]
    path.unlink()
    assert count(service, "events") == 0


def test_a_flush_after_the_remedy_does_not_tell_the_old_reason(own_service: Service) -> None:
    service = own_service.start() if not own_service.running else own_service
    in_the_way = service.parquet / "2"
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("in the way")
    service.post_json("events", [event(1)], workspace=2)
    response = service.admin("POST", "/flush")
    assert (response.status_code, response.json()["code"]) == (503, "publish_failed")
    in_the_way.unlink()
    assert service.flush()["flushed_rows"] == 1
    assert numbers(service.table(workspace=2)) == [1]
