"""What /flush, ?wait= and the counts in answers promise."""

import json
import time

import pyarrow.parquet as pq
import pytest

from tests.support.payloads import ROW_OF, event, numbers
from tests.support.service import KEYS, Service

CONFIG = {"sinks.parquet": {"flush_interval": "3600s"}}
WITH_A_LOCAL_JOURNAL = (
    "directory",
    "bucket",
    *(pytest.param(name, marks=pytest.mark.heavy) for name in ("tables", "workers")),
)
"""What only a front end that is a writer, too, and keeps its state can promise: docs/kafka.md."""

BACKENDS = (*WITH_A_LOCAL_JOURNAL, pytest.param("kafka", marks=pytest.mark.heavy))


def test_a_flush_answers_when_the_rows_are_in_files(own_service: Service) -> None:
    service = own_service
    for call, row in ROW_OF.items():
        service.post_json(call, [row(number) for number in range(10)])
    service.post_json("events", [event(10)], workspace=2)
    assert service.data_files() == [], "nothing is due yet"

    answer = service.flush()

    assert answer["flushed_rows"] == 31
    assert {file["path"]: file["rows"] for file in answer["files"]} == {
        path.relative_to(service.parquet).as_posix(): pq.read_metadata(path).num_rows
        for path in service.data_files()
    }
    for file in answer["files"]:
        assert file["bytes"] == (service.parquet / file["path"]).stat().st_size


def test_a_flush_of_nothing_writes_nothing(service: Service, workspace: int) -> None:
    service.post_json("events", [event(1)], workspace=workspace)
    service.flush(workspace)
    before = service.data_files("events", workspace)[0].stat()

    answer = service.flush(workspace)

    assert answer["flushed_rows"] == 0
    assert answer["files"] == []
    after = service.data_files("events", workspace)[0].stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_flush_of_one_workspace_leaves_the_others_buffered(own_service: Service) -> None:
    own_service.post_json("events", [event(1)], workspace=1)
    own_service.post_json("events", [event(2)], workspace=2)

    answer = own_service.flush(workspace=2)

    assert answer["flushed_rows"] == 1
    assert own_service.data_files("events", 1) == []
    assert numbers(own_service.table("events", 2)) == [2]
    own_service.flush()
    assert numbers(own_service.table("events", 1)) == [1]


@pytest.mark.parametrize("workspace", ["x", "-1", "1.5", str(2**80)])
def test_a_flush_of_no_workspace_is_a_clear_error(service: Service, workspace: str) -> None:
    response = service.admin("POST", "/flush", params={"workspace_id": workspace})

    assert response.status_code == 400, response.text
    assert "workspace_id" in response.json()["message"]


def test_wait_file_is_answered_when_its_rows_can_be_read(service: Service, workspace: int) -> None:
    for number in range(5):
        service.post_json("events", [event(number)], workspace=workspace, wait="file")
        assert numbers(service.table("events", workspace)) == list(range(number + 1))


@pytest.mark.parametrize("backend", WITH_A_LOCAL_JOURNAL, scope="module")
def test_wait_journal_does_not_hasten_a_flush(own_service: Service) -> None:
    own_service.post_json("events", [event(1)], wait="journal")

    assert own_service.data_files() == []
    assert account(own_service)["buffered"] == 1


def account(service: Service) -> dict[str, int]:
    """Rows by state, over all workspaces and kinds of /status."""
    lines = service.status()["rows"]
    for line in lines:
        assert line["accepted"] == line["published"] + line["buffered"] + line["quarantined"], line
    states = ("accepted", "published", "buffered", "quarantined")
    return {state: sum(line[state] for line in lines) for state in states}


@pytest.mark.parametrize("backend", WITH_A_LOCAL_JOURNAL, scope="module")
def test_the_account_adds_up_before_and_after_a_flush(own_service: Service) -> None:
    for workspace in (1, 2, 3):
        own_service.post_json("events", [event(n) for n in range(workspace)], workspace=workspace)
        own_service.post_json("logs", [ROW_OF["logs"](n) for n in range(7)], workspace=workspace)

    assert account(own_service) == {"accepted": 27, "published": 0, "buffered": 27, "quarantined": 0}
    own_service.flush(workspace=2)
    assert account(own_service) == {"accepted": 27, "published": 9, "buffered": 18, "quarantined": 0}
    own_service.flush()
    assert account(own_service) == {"accepted": 27, "published": 27, "buffered": 0, "quarantined": 0}


def test_the_account_says_when_rows_were_last_published(own_service: Service) -> None:
    assert own_service.status()["last_flush_ms"] is None
    own_service.post_json("events", [event(1)])
    before = time.time_ns() // 1_000_000
    own_service.flush()
    assert before <= own_service.status()["last_flush_ms"] <= time.time_ns() // 1_000_000


def test_a_batch_sent_twice_with_one_idempotency_key_is_stored_once(service: Service, workspace: int) -> None:
    body = json.dumps([event(1), event(2)])
    headers = {"Idempotency-Key": "order-17"}

    first = service.post("events", body, headers=headers, workspace=workspace)
    second = service.post("events", body, headers=headers, workspace=workspace)
    other = service.post("events", json.dumps([event(3)]), headers=headers, workspace=workspace)
    elsewhere = service.post("events", body, headers=headers, workspace=2)

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json()["duplicate"] is True
    assert second.json()["accepted"] == 2
    assert "duplicate" not in first.json() or first.json()["duplicate"] is False
    assert other.status_code == 409, other.text
    assert elsewhere.status_code == 202, "another workspace's ids are its own"
    service.flush()
    assert numbers(service.table("events", workspace)) == [1, 2]
    assert numbers(service.table("events", 2)) == [1, 2]


@pytest.mark.parametrize("backend", WITH_A_LOCAL_JOURNAL, scope="module")
def test_the_idempotency_window_survives_a_restart(own_service: Service) -> None:
    body = json.dumps([event(1)])
    headers = {"Idempotency-Key": "survivor"}
    own_service.post("events", body, headers=headers)
    own_service.kill9()
    own_service.start()
    after_kill = own_service.post("events", body, headers=headers)
    own_service.restart()
    after_stop = own_service.post("events", body, headers=headers)

    assert after_kill.json()["duplicate"] is True
    assert after_stop.json()["duplicate"] is True
    own_service.flush()
    assert numbers(own_service.table()) == [1]


def test_a_request_id_of_the_client_is_given_back(service: Service) -> None:
    response = service.post("events", json.dumps(event(1)), headers={"X-Request-ID": "abc-123-def"})

    assert response.status_code == 202
    assert response.json()["request_id"]
    assert KEYS[1] not in response.text
