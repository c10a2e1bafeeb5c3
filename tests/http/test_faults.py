"""The fault matrix of docs/durability.md over the running service: what is harmed, what goes on, what is
said, and the way out.

In each row a neighbour's rows are published while the fault lasts, and the acknowledged rows of whoever is
harmed are there exactly once after the remedy, as far as a file or the journal still has them.
"""

import http.client
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.payloads import event, numbers
from tests.support.service import KEYS, REPOSITORY, DidNotStart, Service, running

CONFIG = {"sinks.parquet": {"flush_interval": "3600s"}}
NEIGHBOUR = 2
TODAY_FILE = "events.parquet"


def post(service: Service, *rows: int, workspace: int = 1) -> None:
    for number in rows:
        service.post_json("events", [event(number)], workspace=workspace)


def today(service: Service, workspace: int = 1) -> Path:
    """The one file of a workspace's day."""
    (path,) = service.data_files("events", workspace)
    return path


def everything(service: Service) -> dict[int, list[int]]:
    return {each: sorted(numbers(service.table(workspace=each))) for each in (1, NEIGHBOUR)}


def command(service: Service, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "app.cli",
            *arguments,
            "--config",
            str(service.directory / "parquet-sink.toml"),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def two_flushes(service: Service) -> None:
    """Rows 0 and 1 of each workspace are in files; row 1 came with the second flush."""
    for number in (0, 1):
        post(service, number)
        post(service, number, workspace=NEIGHBOUR)
        service.flush()


def other(tmp_path: Path, service: Service, **journal: str) -> Service:
    """A service of its own on the same data tree."""
    directory = tmp_path / "other"
    directory.mkdir()
    return Service(directory, {"sinks.parquet": {"path": str(service.parquet)}, "journal": journal})


# --- whose files these are --------------------------------------------------------------------------------


def test_a_second_service_on_one_tree_is_refused_while_the_first_runs(
    own_service: Service, tmp_path: Path
) -> None:
    two_flushes(own_service)
    with other(tmp_path, own_service) as second, pytest.raises(DidNotStart, match="exit code 1") as refused:
        second.start()
    assert "belong to the journal in" in str(refused.value)
    assert "server.node_id" in str(refused.value)
    assert "Traceback" not in str(refused.value)

    post(own_service, 2)
    own_service.flush()
    assert everything(own_service) == {1: [0, 1, 2], NEIGHBOUR: [0, 1]}


def test_a_journal_that_is_gone_is_named_and_its_files_can_be_taken_over(
    own_service: Service, tmp_path: Path
) -> None:
    two_flushes(own_service)
    own_service.kill9()
    with other(tmp_path, own_service) as second:
        with pytest.raises(DidNotStart) as refused:
            second.start()
        assert str(own_service.journal) in str(refused.value), "the old journal is named"

        adopted = command(second, "adopt")
        assert adopted.returncode == 0, adopted.stderr
        second.start()
        post(second, 5)
        second.flush()
        assert everything(own_service) == {1: [0, 1, 5], NEIGHBOUR: [0, 1]}
        assert second.status()["rows"][0]["published"] == 3
        second.kill9()
        second.start()
        assert second.flush()["flushed_rows"] == 0
        assert second.terminate() == 0
    with pytest.raises(DidNotStart, match="belong to the journal in"):
        own_service.start()
    assert "Traceback" not in own_service.stderr


def test_a_sink_path_that_was_changed_gets_its_own_words(own_service: Service, tmp_path: Path) -> None:
    two_flushes(own_service)
    assert own_service.terminate() == 0
    moved = tmp_path / "moved"
    config = own_service.directory / "parquet-sink.toml"
    config.write_text(
        config.read_text().replace(json.dumps(str(own_service.parquet)), json.dumps(str(moved)))
    )
    with pytest.raises(DidNotStart) as refused:
        own_service.start()
    assert f"this journal's files are in {own_service.parquet}" in str(refused.value)
    assert "backup" not in str(refused.value)

    shutil.rmtree(moved, ignore_errors=True)
    own_service.parquet.rename(moved)
    own_service.start()
    assert own_service.status()["lost_files"] == []


# --- files, manifest, intent, batch ids -------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-2] + bytes([data[-2] ^ 4]) + data[-1:])


@pytest.mark.parametrize("harm", [Path.unlink, cut])
def test_a_file_that_is_gone_or_shorter_at_a_start_harms_itself_alone(
    own_service: Service, harm: Callable[[Path], None]
) -> None:
    """The journal still has the rows, since its segment is not full: they are published again."""
    two_flushes(own_service)
    own_service.kill9()
    path = today(own_service)
    harm(path)
    harmed = path.read_bytes() if path.exists() else None

    own_service.start()
    assert (
        f"ERROR app.run.start_report found at the start: {path.relative_to(own_service.parquet)} is"
        in own_service.stderr
    )
    post(own_service, 2)
    post(own_service, 2, workspace=NEIGHBOUR)
    own_service.flush()
    assert (path.read_bytes() if path.exists() else None) == harmed, "what is there is left untouched"
    path.unlink(missing_ok=True)
    assert everything(own_service) == {1: [0, 1, 2], NEIGHBOUR: [0, 1, 2]}
    account = {row["workspace_id"]: row for row in own_service.status()["rows"]}
    assert account[1]["accepted"] == account[1]["published"] == 3


@pytest.mark.parametrize("harm", [Path.unlink, cut])
def test_a_growing_file_that_is_gone_or_shorter_while_it_runs_is_said_to_be_lost(
    own_service: Service, harm: Callable[[Path], None]
) -> None:
    """By the next flush, which would have made it longer. Here the journal has its rows: a start brings them
    back."""
    two_flushes(own_service)
    path = today(own_service)
    harm(path)
    post(own_service, 2)
    own_service.flush()
    (lost,) = own_service.status()["lost_files"]
    assert (lost["path"], lost["lost_rows"]) == (str(path.relative_to(own_service.parquet)), 2)
    assert f"{lost['path']} is" in own_service.stderr
    own_service.kill9()

    own_service.start()
    own_service.flush()
    assert own_service.status()["lost_files"] == []
    path.unlink(missing_ok=True)
    assert everything(own_service) == {1: [0, 1, 2], NEIGHBOUR: [0, 1]}
    own_service.kill9()
    own_service.start()
    assert own_service.flush()["flushed_rows"] == 0


def test_rows_that_neither_file_nor_journal_has_are_said_to_be_lost(own_service: Service) -> None:
    two_flushes(own_service)
    assert own_service.terminate() == 0
    for segment in (own_service.journal / "segments").glob("*.segment"):
        segment.unlink()  # as when they were trimmed
    path = today(own_service)
    path.unlink()
    shutil.rmtree(own_service.journal / "segments")
    adopted = command(own_service, "adopt")
    assert adopted.returncode == 0, adopted.stderr

    own_service.start()
    (lost,) = own_service.status()["lost_files"]
    assert (lost["path"], lost["lost_rows"]) == (str(path.relative_to(own_service.parquet)), 2)
    assert own_service.metrics()["parquet_sink_lost_rows"] == 2
    post(own_service, 2)
    own_service.flush()
    assert everything(own_service) == {1: [2], NEIGHBOUR: [0, 1]}


@pytest.mark.parametrize("harm", ["removed", "header", "older"])
def test_a_manifest_that_is_gone_or_older_publishes_nothing_twice(own_service: Service, harm: str) -> None:
    manifest = own_service.journal / "manifest"
    post(own_service, 0)
    post(own_service, 0, workspace=NEIGHBOUR)
    own_service.flush()
    older = manifest.read_bytes()
    post(own_service, 1)
    post(own_service, 1, workspace=NEIGHBOUR)
    own_service.flush()
    post(own_service, 2)
    own_service.kill9()
    if harm == "removed":
        manifest.unlink()
    else:
        manifest.write_bytes(older if harm == "older" else older[: older.index(b"\n") + 1])

    own_service.start()
    own_service.flush()
    assert everything(own_service) == {1: [0, 1, 2], NEIGHBOUR: [0, 1]}
    assert len(own_service.files()) == 2


def test_repair_reads_the_manifest_from_the_files_and_says_so(own_service: Service) -> None:
    two_flushes(own_service)
    own_service.kill9()
    (own_service.journal / "manifest").unlink()

    done = command(own_service, "repair")
    assert done.returncode == 0, done.stderr
    assert "the manifest did not list 2 published files" in done.stdout
    own_service.start()
    own_service.flush()
    assert everything(own_service) == {1: [0, 1], NEIGHBOUR: [0, 1]}


def test_a_bit_flipped_in_todays_footer_seals_that_file_alone(own_service: Service) -> None:
    two_flushes(own_service)
    path = today(own_service)
    flip(path)

    post(own_service, 2)
    post(own_service, 2, workspace=NEIGHBOUR)
    assert own_service.flush()["flushed_rows"] == 2
    assert path.name in own_service.stderr
    assert own_service.running
    flip(path)
    assert everything(own_service) == {1: [0, 1, 2], NEIGHBOUR: [0, 1, 2]}
    own_service.restart()
    assert everything(own_service) == {1: [0, 1, 2], NEIGHBOUR: [0, 1, 2]}


def test_damaged_batch_ids_cost_the_window_and_not_the_start(own_service: Service) -> None:
    two_flushes(own_service)
    assert own_service.terminate() == 0
    window = own_service.journal / "deduplication"
    window.write_bytes(b"parquet-sink batch ids 1\nno good")

    own_service.start()
    assert "may be stored twice" in own_service.stderr
    post(own_service, 2)
    own_service.flush()
    assert everything(own_service) == {1: [0, 1, 2], NEIGHBOUR: [0, 1]}


# --- partitions that cannot be written --------------------------------------------------------------------


def blocked(service: Service) -> Path:
    """A file stands where the first workspace's folder should be."""
    service.parquet.mkdir(exist_ok=True)
    obstacle = service.parquet / "1"
    obstacle.write_text("in the way")
    return obstacle


def test_a_partition_that_cannot_be_written_harms_itself_alone(own_service: Service) -> None:
    obstacle = blocked(own_service)
    post(own_service, 0, 1)
    post(own_service, 0, workspace=NEIGHBOUR)

    everyone = own_service.admin("POST", "/flush")
    assert everyone.json()["error"] == "publish_failed", "one commit of both"
    assert numbers(own_service.table(workspace=NEIGHBOUR)) == [0]
    harmed = own_service.admin("POST", "/flush", params={"workspace_id": "1"})
    assert harmed.status_code == 503, harmed.text
    assert harmed.json()["error"] == "publish_failed"
    assert "workspace 1" in harmed.json()["message"]
    status = own_service.status()
    (failing,) = status["failing_partitions"]
    assert (failing["workspace_id"], failing["kind"]) == (1, "events")
    assert "Not a directory" in failing["error"]
    assert own_service.metrics()["parquet_sink_publish_failing_seconds"] > 0
    assert own_service.http.get("/ready").status_code == 200
    post(own_service, 1, workspace=NEIGHBOUR)
    own_service.flush(NEIGHBOUR)
    assert own_service.stderr.count("cannot be published") == 1, "it is said once"

    obstacle.unlink()
    own_service.wait_until(lambda: not own_service.status()["failing_partitions"], 30)
    own_service.flush()
    assert everything(own_service) == {1: [0, 1], NEIGHBOUR: [0, 1]}
    assert "is published again" in own_service.stderr


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory on another file system than the tests' own."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


def test_a_folder_that_leads_to_another_file_system_harms_itself_alone(
    own_service: Service, elsewhere: Path
) -> None:
    """Its files are staged, and cannot have their names: the others of the same commit can."""
    own_service.parquet.mkdir(exist_ok=True)
    link = own_service.parquet / "1"
    link.symlink_to(elsewhere)
    post(own_service, 0)
    post(own_service, 0, workspace=NEIGHBOUR)

    everyone = own_service.admin("POST", "/flush")
    assert everyone.json()["error"] == "publish_failed"
    assert numbers(own_service.table(workspace=NEIGHBOUR)) == [0]
    own_service.kill9()
    own_service.start()
    post(own_service, 1, workspace=NEIGHBOUR)
    own_service.flush(NEIGHBOUR)

    link.unlink()
    own_service.wait_until(lambda: own_service.status()["problem"] is None, 30)
    own_service.flush()
    assert everything(own_service) == {1: [0], NEIGHBOUR: [0, 1]}


def test_what_waits_for_a_partition_that_fails_is_told_that_it_is_durable(own_service: Service) -> None:
    blocked(own_service)
    response = own_service.post("events", json.dumps([event(0)]), params={"wait": "file"})
    assert response.status_code == 202, response.text
    assert response.json()["published"] is False


def test_a_start_with_a_partition_that_cannot_be_written_takes_batches(own_service: Service) -> None:
    obstacle = blocked(own_service)
    post(own_service, 0)
    post(own_service, 0, workspace=NEIGHBOUR)
    own_service.kill9()

    own_service.start()
    post(own_service, 1, workspace=NEIGHBOUR)
    own_service.flush(NEIGHBOUR)
    assert numbers(own_service.table(workspace=NEIGHBOUR)) == [0, 1]
    obstacle.unlink()
    own_service.wait_until(lambda: own_service.status()["problem"] is None, 30)
    own_service.flush()
    assert everything(own_service) == {1: [0], NEIGHBOUR: [0, 1]}


def test_a_stop_answers_whoever_waits_for_a_file(own_service: Service) -> None:
    obstacle = blocked(own_service)
    host, port = own_service.base_url.removeprefix("http://").split(":")
    headers = {"X-API-Key": KEYS[1], "Content-Type": "application/json"}
    batch = http.client.HTTPConnection(host, int(port), timeout=60)
    batch.request("POST", "/v1/events?wait=file", body=json.dumps([event(0)]), headers=headers)
    own_service.wait_until(lambda: own_service.status()["buffer"]["rows"] == 1, 10)
    flush = http.client.HTTPConnection(host, int(port), timeout=60)
    flush.request("POST", "/flush", headers={"X-API-Key": KEYS[1]})
    # What was sent before a later connection was opened is read before that one is answered.
    own_service.wait_until(lambda: "cannot be published" in own_service.stderr and own_service.status(), 10)
    own_service.terminate()
    for connection, statuses in ((batch, {202, 503}), (flush, {503})):
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        assert answer.status in statuses, body
    obstacle.unlink()
    own_service.start()
    own_service.flush()
    assert everything(own_service)[1] == [0]


def test_many_files_that_nobody_knows_are_one_line(tmp_path: Path) -> None:
    with running(Service(tmp_path, CONFIG)) as service:
        assert service.terminate() == 0
        for number in range(300):
            (service.parquet / f"mine-{number}.txt").write_text("mine")
        service.start()
        lines = [line for line in service.stderr.splitlines() if "do not belong to this service" in line]
        assert len(lines) == 1
        assert " 300 files " in lines[0]
