"""`[[ingest.map]]`: JSON of one's own becomes rows by configuration."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings.mapping import MapSettings
from tests.support.service import KEYS, Service, running_service
from tests.support.workers_service import WorkersService

CONFIG = {
    "[ingest.map]": {
        "path": "/in/nginx",
        "kind": "logs",
        "message": "request",
        "time": "meta.at",
        "level": "sev",
        "service": "vhost",
        "set": {"source": "edge"},
    }
}


def logs(service: Service) -> list[dict[str, Any]]:
    table = service.table("logs")
    rows = table.sort_by("timestamp").to_pylist()
    return [{**row, "payload": json.loads(row["payload"])} for row in rows]


@pytest.fixture(scope="module", params=[Service, WorkersService])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with request.param(tmp_path_factory.mktemp("mapped"), CONFIG) as service:
        service.start()
        yield service


def test_what_is_named_is_in_its_column_and_the_rest_in_the_payload(service: Service) -> None:
    first = {"request": "GET /", "meta": {"at": 1_790_000_000}, "sev": "warn", "vhost": "shop", "n": 1}
    second = {"request": "GET /b", "meta": {"at": "2026-09-21T14:13:21Z"}, "sev": 50, "message": "own"}
    third = {"msg": "as a logger writes it", "time": 1_790_000_002, "request": ""}
    body = "\n".join(map(json.dumps, (first, second, third)))
    headers = {"X-API-Key": KEYS[1], "Content-Type": "application/json"}
    answer = service.http.post("/in/nginx", content=body, headers=headers)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 3), answer.text
    service.flush()
    rows = logs(service)
    named = [(row["level"], row["service"], row["source"]) for row in rows]
    assert named[0] == ("warning", "shop", "edge")
    assert named[1][0] == "error"
    assert named[2][0] == "info"
    messages = [row["payload"]["message"] for row in rows]
    assert messages == ["GET /", "GET /b", "as a logger writes it"]
    assert [row["timestamp"] // 1000 for row in rows] == [1_790_000_000, 1_790_000_001, 1_790_000_002]
    assert rows[0]["payload"]["n"] == 1
    assert rows[1]["payload"]["_shadowed"] == {"message": "own"}


def test_a_bad_record_is_named_and_the_others_are_taken(service: Service) -> None:
    body = json.dumps([{"request": "a", "meta": {"at": 1_790_000_100}}, 5])
    answer = service.http.post("/in/nginx", content=body, headers={"X-API-Key": KEYS[1]})
    assert answer.status_code == 207
    assert answer.json()["errors"][0]["message"] == 2
    assert service.http.post("/in/nginx", content=body).status_code == 401
    assert service.http.post("/in/apache", content=body).status_code == 404


def test_events_and_snapshots_and_bodies_told_by_a_key(tmp_path: Path) -> None:
    events = {
        "path": "/v1/events",
        "kind": "events",
        "has": "what",
        "event": "what",
        "user": "who.id",
        "time": "when",
    }
    with running_service(tmp_path, {"[ingest.map]": events}) as service:
        own = {"what": "paid", "who": {"id": "u1"}, "when": 1_790_000_000, "sum": 5}
        native = {"type": "track", "event": "seen", "user_id": "u2", "timestamp": 1_790_000_001}
        for row in (own, native):
            assert service.post("events", json.dumps(row)).status_code == 202
        service.flush()
        rows = service.table("events").sort_by("timestamp").to_pylist()
    assert [row["event_name"] for row in rows] == ["paid", "seen"]
    assert json.loads(rows[0]["payload"])["sum"] == 5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"path": "/v1/logs"}, "is taken"),
        ({"path": "/flush"}, "is taken"),
        ({"path": "/loki/api/v1/push"}, "is taken"),
        ({"path": "in"}, "write it like /in/nginx"),
        ({"path": "/in/{x}"}, "write it like /in/nginx"),
        ({"path": "/in/x", "device": "d"}, "logs have no device"),
        ({"path": "/in/x", "kind": "events", "set": {"level": "info"}}, "events have no level"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MapSettings(**settings)
