"""GET /tail: rows of a workspace as they are accepted, and nothing that a slow reader can do to ingest."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.support.payloads import DEVICE, event, log_line, snapshot
from tests.support.service import ADMIN_TOKEN, KEYS, REPOSITORY, Service

BACKENDS = ("directory", "workers")

LISTENERS_MAX = 8

CONFIG = {"query": {"max_listeners": LISTENERS_MAX}}


class Events:
    """What an open call has sent."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()
        assert next(self._lines).startswith(": rows follow"), "it watches from here on"

    def rows(self, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(found) < count:
            line = next(self._lines)
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
        return found


@contextlib.contextmanager
def watching(service: Service, credential: str, params: Mapping[str, str] | None = None) -> Iterator[Events]:
    headers = {"Authorization": f"Bearer {credential}"}
    with service.http.stream(
        "GET", "/tail", headers=headers, params=dict(params or {}), timeout=30
    ) as response:
        assert response.status_code == 200, response.read()
        yield Events(response)


def test_a_workspace_watches_its_rows_and_no_others(service: Service) -> None:
    with watching(service, KEYS[1]) as own, watching(service, ADMIN_TOKEN) as all_rows:
        service.post_json("events", [event(1)], workspace=2)
        service.post_json("events", [event(2)])
        service.post_json("logs", [log_line(3)])
        (first, second) = own.rows(2)
        assert {row["workspace"] for row in all_rows.rows(3)} == {1, 2}
    assert first == {
        "kind": "events",
        "timestamp": "2023-11-14T22:13:20.125Z",
        "received_at": first["received_at"],
        "workspace": 1,
        "event_type": "track",
        "event_name": "page_view",
        "device_id": DEVICE,
        "session_id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "source_ip": "127.0.0.1",
        "payload": {"number": 2},
    }
    assert (second["kind"], second["level"], second["payload"]["message"]) == ("logs", "error", "line 3")
    assert own.response.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    "params",
    [
        {"kind": "logs"},
        {"level": "error"},
        {"source": "host-1"},
        {"service": "api", "kind": "events,logs"},
        {"contains": '"message"'},
    ],
)
def test_filters_are_joined(service: Service, params: dict[str, str]) -> None:
    with watching(service, KEYS[1], params) as events:
        service.post_json("events", [event(1)])
        service.post_json("snapshots", [snapshot(1)])
        service.post_json("logs", [log_line(2)])
        assert [row["kind"] for row in events.rows(1)] == ["logs"]


def test_rows_that_come_again_are_not_shown_again(service: Service) -> None:
    with watching(service, KEYS[1], {"device_id": DEVICE}) as events:
        for number in (1, 1, 2):
            body, headers = json.dumps([event(number)]), {"Idempotency-Key": f"batch-{number}"}
            assert service.post("events", body, headers=headers).status_code == 202
        assert [row["payload"]["number"] for row in events.rows(2)] == [1, 2]


@pytest.mark.parametrize(
    ("params", "credential", "status"),
    [
        ({"kind": "users"}, KEYS[1], 400),
        ({"device_id": "x"}, KEYS[1], 400),
        ({"plan": "pro"}, KEYS[1], 400),
        ({"workspace_id": "2"}, KEYS[1], 403),
        ({}, "0" * 32, 401),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(
    service: Service, params: dict[str, str], credential: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {credential}"}
    assert service.http.get("/tail", params=params, headers=headers).status_code == status


def test_only_so_many_watch_and_a_place_is_free_when_one_leaves(service: Service) -> None:
    with contextlib.ExitStack() as all_open:
        for _ in range(LISTENERS_MAX):
            service.wait_until(lambda: open_another(service, all_open) == 200, 20)
        assert open_another(service, all_open) == 503
    with contextlib.ExitStack() as all_open:
        service.wait_until(lambda: open_another(service, all_open) == 200, 20)


def open_another(service: Service, stack: contextlib.ExitStack) -> int:
    """Its status; it stays open as long as the stack."""
    headers = {"Authorization": f"Bearer {KEYS[1]}"}
    return stack.enter_context(service.http.stream("GET", "/tail", headers=headers)).status_code


def test_a_slow_reader_misses_rows_and_is_told_how_many(service: Service) -> None:
    """It reads nothing while more rows come than wait for it; ingest takes them all."""
    rows, batches = 2_000, 40
    body = json.dumps([event(n, properties={"text": "x" * 300}) for n in range(rows)])
    with watching(service, KEYS[1]) as events:
        for _ in range(batches):
            assert service.post("events", body).status_code == 202
        seen = missed = 0
        while seen + missed < rows * batches:
            (found,) = events.rows(1)
            if "rows" in found:
                missed += found["rows"]
            else:
                seen += 1
    assert missed > 0
    assert seen > 0


def test_a_stop_does_not_wait_for_those_who_watch(own_service: Service) -> None:
    with watching(own_service, KEYS[1]) as events:
        stopping = threading.Thread(target=own_service.terminate)
        stopping.start()
        with contextlib.suppress(StopIteration, httpx.TransportError):
            events.rows(1)
        stopping.join(15)
        assert not stopping.is_alive()


def test_the_command_shows_rows_and_ends_after_so_many(service: Service) -> None:
    command = [sys.executable, "-m", "app.cli", "tail", "--url", service.base_url, "--key", KEYS[1]]
    tailing = subprocess.Popen(
        [*command, "--count", "2", "--where", "event_name=told"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def more_comes() -> bool:
        service.post_json("events", [event(1), event(2, event="told")])
        return tailing.poll() is not None

    service.wait_until(more_comes, 30)
    output, said = tailing.communicate()
    assert tailing.returncode == 0, said
    assert [json.loads(line)["event_name"] for line in output.splitlines()] == ["told"] * 2
    wrong = subprocess.run(
        [*command, "--where", "plan=pro"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 1
    assert "is not a filter" in wrong.stderr
