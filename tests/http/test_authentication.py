"""All four ways to show a key, and what a key may do."""

import base64
import json
from typing import Any

import pytest

from tests.support.payloads import event, numbers
from tests.support.service import ADMIN_TOKEN, KEYS, Service

CONFIG = {"sinks.parquet": {"flush_interval": "3600s"}}


def basic(user: str, password: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


WAYS: dict[str, dict[str, Any]] = {
    "bearer": {"headers": {"Authorization": f"Bearer {KEYS[2]}"}},
    "lower-case scheme": {"headers": {"Authorization": f"bearer {KEYS[2]}"}},
    "upper-case key": {"headers": {"Authorization": f"Bearer {KEYS[2].upper()}"}},
    "x-api-key": {"headers": {"X-API-Key": KEYS[2]}},
    "basic": {"headers": {"Authorization": basic(KEYS[2])}},
    "token": {"params": {"token": KEYS[2]}},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_key_names_its_workspace_in_every_way_it_can_be_sent(service: Service, way: str) -> None:
    number = list(WAYS).index(way)
    arguments = WAYS[way]
    headers = {"Content-Type": "application/json", **arguments.get("headers", {})}

    response = service.http.post(
        "/v1/events", content=json.dumps(event(number)), headers=headers, params=arguments.get("params")
    )

    assert response.status_code == 202, response.text
    service.flush()
    assert numbers(service.table("events", 2)).count(number) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"headers": {"X-API-Key": "0" * 32}},
        {"headers": {"X-API-Key": ""}},
        {"headers": {"Authorization": basic("no-such-key")}},
        {"headers": {"Authorization": basic("", KEYS[1])}},
        {"params": {"token": "0" * 32}},
        {"params": {"token": ""}},
    ],
)
def test_an_unknown_key_is_refused_in_every_way(service: Service, arguments: dict[str, Any]) -> None:
    response = service.http.post("/v1/events", content=b"{}", **arguments)

    assert response.status_code in (401, 403), response.text
    assert response.json()["error"]


def test_the_largest_workspace_number_is_kept(service: Service) -> None:
    service.post_json("events", [event(1)], workspace=4294967295)
    service.flush()

    table = service.table("events", 4294967295)
    assert table["workspace_id"].to_pylist() == [4294967295]


def test_a_workspace_key_sees_and_flushes_its_own_workspace_only(service: Service) -> None:
    service.post_json("events", [event(100)], workspace=1)
    service.post_json("events", [event(100)], workspace=3)
    service.flush()
    own = {"Authorization": f"Bearer {KEYS[3]}"}

    listed = service.http.get("/files", headers=own).json()["files"]
    assert {file["workspace_id"] for file in listed} == {3}
    assert service.http.get(f"/files/{listed[0]['path']}", headers=own).status_code == 200
    foreign = service.data_files("events", 1)[0].relative_to(service.parquet).as_posix()
    assert service.http.get(f"/files/{foreign}", headers=own).status_code in (403, 404)
    assert service.http.get("/files", params={"workspace_id": "1"}, headers=own).status_code == 403
    assert service.http.get("/status", headers=own).status_code == 403

    service.post_json("events", [event(200)], workspace=1)
    service.post_json("events", [event(200)], workspace=3)
    assert service.http.post("/flush", params={"workspace_id": "1"}, headers=own).status_code == 403
    assert service.http.post("/flush", headers=own).json()["flushed_rows"] == 1
    assert 200 not in numbers(service.table("events", 1))


@pytest.mark.parametrize(("method", "path"), [("POST", "/flush"), ("GET", "/files"), ("GET", "/status")])
def test_the_admin_calls_want_a_key(service: Service, method: str, path: str) -> None:
    assert service.http.request(method, path).status_code == 401
    wrong = {"Authorization": f"Bearer {ADMIN_TOKEN}x"}
    assert service.http.request(method, path, headers=wrong).status_code in (401, 403)


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_need_no_key(service: Service, path: str) -> None:
    assert service.http.get(path).status_code == 200


def test_the_admin_token_is_no_ingest_key(service: Service) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
    response = service.http.post("/v1/events", content=json.dumps(event(1)), headers=headers)

    assert response.status_code in (401, 403)
