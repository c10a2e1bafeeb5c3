"""What stands in the log: as JSON or for people, with the request and the workspace that a line is about."""

import json
import re
from typing import Any

import pytest

from tests.support.payloads import event
from tests.support.service import KEYS, NewService, Service, running

CONFIG = {"server": {"access_log": True}, "log": {"format": "json"}}
BACKENDS = ["directory", "workers"]
SECONDS = 15.0


def logged(service: Service) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.stderr.splitlines()]


def access(service: Service, request_id: str) -> dict[str, Any]:
    """The one line about a request; it is written by a thread of its own."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = [line for line in logged(service) if line.get("request_id") == request_id]
        return bool(found)

    service.wait_until(is_there, SECONDS)
    (line,) = found
    return line


def test_every_line_is_one_object(service: Service) -> None:
    service.wait_until(lambda: any(line["message"].startswith("ready") for line in logged(service)), SECONDS)
    for line in logged(service):
        assert {"time", "level", "logger", "message"} <= line.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


@pytest.mark.parametrize(
    ("call", "content_type", "params", "lane"),
    [
        ("events", "application/json", None, "fast"),
        ("events", "application/json", {"wait": "file"}, "route"),
    ],
)
def test_a_request_is_logged_with_its_workspace(
    service: Service, workspace: int, call: str, content_type: str, params: dict[str, str] | None, lane: str
) -> None:
    request_id = f"log-{lane}-{workspace}"
    body = json.dumps([event(1)])
    service.post(
        call,
        body,
        workspace=workspace,
        content_type=content_type,
        params=params,
        headers={"X-Request-ID": request_id},
    )
    line = access(service, request_id)

    assert line["message"] == "POST /v1/events 202"
    assert (line["workspace_id"], line["status"], line["bytes"]) == (workspace, 202, len(body))
    assert line["client"] == "127.0.0.1"
    assert line["duration_ms"] > 0


def test_no_key_gets_into_the_log(service: Service) -> None:
    service.http.post(
        "/v1/events", params={"token": KEYS[1]}, content=json.dumps([event(1)]), headers={"X-Request-ID": "q"}
    )
    service.http.get("/no/such\u2028path%0Awith", headers={"X-Request-ID": "odd"})
    service.http.post(
        "/v1/batch",
        auth=(KEYS[2], ""),
        json={"batch": [{"type": "track", "event": "e", "anonymousId": "a"}]},
        headers={"X-Request-ID": "segment"},
    )

    assert access(service, "q")["path"] == "/v1/events"
    assert access(service, "odd")["status"] == 404
    assert access(service, "segment")["workspace_id"] == 2
    assert not any(key in service.stderr for key in KEYS.values())


def test_a_refused_row_is_said_of_its_workspace(service: Service, workspace: int) -> None:
    service.post("events", json.dumps([event(1), {"type": "x"}]), workspace=workspace)
    wanted = f"workspace {workspace}: refused invalid_row"
    service.wait_until(lambda: wanted in service.stderr, SECONDS)
    (line,) = [line for line in logged(service) if line["message"].startswith(wanted)]

    assert (line["level"], line["workspace_id"]) == ("warning", workspace)


@pytest.mark.parametrize("backend", ["directory"], scope="module")
def test_lines_for_people_say_the_same_behind_their_text(tmp_path: Any, new_service: NewService) -> None:
    config = {"server": {"access_log": True}, "log.levels": {"app.run.local_service": "warning"}}
    with running(new_service(tmp_path, config)) as service:
        service.post("events", json.dumps([event(1)]), headers={"X-Request-ID": "for-people"})
        wanted = r"Z INFO app\.api\.access_log POST /v1/events 202 request_id=for-people workspace_id=1 "
        service.wait_until(lambda: re.search(wanted, service.stderr) is not None, SECONDS)

        assert "app.run.serve listening" in service.stderr
        assert "ready:" not in service.stderr, "its logger is told to be quiet"
