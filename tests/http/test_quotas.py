"""A workspace beyond its quota is told to wait, and for how long; nobody else notices."""

import json

import pytest

from tests.support.payloads import event
from tests.support.service import KEYS, Service

CONFIG = {
    "sinks.parquet": {"flush_interval": "3600s"},
    "quota": [
        {"workspace": 1, "rows_per_second": 0.5, "burst": 10},
        {"workspace": 2, "bytes_per_day": "1KB"},
        {"workspace": 1_050, "rows_per_second": 0.5, "burst": 10},
        {"workspace": 1_051, "inflight_share": 0.000001},
    ],
}
BACKENDS = ["directory", "workers"]
SECONDS_OF_A_DAY = 86_400


def rows(count: int) -> str:
    return json.dumps([event(number) for number in range(count)])


def until_refused(service: Service, workspace: int, body: str) -> None:
    """With workers it takes a moment until all know."""
    service.wait_until(
        lambda: service.post("events", body, workspace=workspace).status_code in (429, 503), 10
    )


def test_rows_a_second(service: Service) -> None:
    # A batch larger than the burst is let in, and the debt is waited for.
    assert service.post("events", rows(100)).status_code == 202
    until_refused(service, 1, rows(1))
    response = service.post("events", rows(1))

    assert response.status_code == 429
    assert response.json()["error"] == "quota_exceeded"
    assert "0.5 rows per second" in response.json()["message"]
    assert 150 <= int(response.headers["Retry-After"]) <= 200
    assert service.post("events", rows(1), workspace=3).status_code == 202
    refused = service.metrics()['parquet_sink_backpressure_refusals_total{reason="quota_exceeded"}']
    assert refused >= 1


def test_clients_that_drop_what_is_answered_429_are_answered_503(service: Service) -> None:
    workspace = 1_050
    assert service.post("events", rows(100), workspace=workspace).status_code == 202
    until_refused(service, workspace, rows(1))
    tell = service.http.post(
        "/v1/events",
        params={"token": KEYS[workspace]},
        content=rows(1),
        headers={"Content-Type": "text/plain"},
    )
    splunk = service.http.post(
        "/services/collector",
        content=b'{"event": "a"}',
        headers={"Authorization": f"Splunk {KEYS[workspace]}"},
    )
    segment = service.http.post(
        "/v1/batch",
        auth=(KEYS[workspace], ""),
        json={"batch": [{"type": "track", "event": "a", "anonymousId": "b", "messageId": "c"}]},
    )

    assert [each.status_code for each in (tell, splunk, segment)] == [503, 503, 429]
    assert int(tell.headers["Retry-After"]) > 100


def test_bytes_a_day(service: Service) -> None:
    assert service.post("events", rows(50), workspace=2).status_code == 202
    until_refused(service, 2, rows(1))
    response = service.post("events", rows(1), workspace=2)

    assert response.status_code == 429
    assert "midnight UTC" in response.json()["message"]
    assert 0 < int(response.headers["Retry-After"]) <= SECONDS_OF_A_DAY


@pytest.mark.parametrize("backend", ["directory"], scope="module")
def test_a_day_that_was_used_up_is_so_after_a_kill(own_service: Service) -> None:
    assert own_service.post("events", rows(50), workspace=2).status_code == 202
    own_service.kill9()
    own_service.start()

    assert own_service.post("events", rows(1), workspace=2).status_code == 429


def test_a_share_of_what_is_in_flight_never_refuses_a_single_batch(service: Service) -> None:
    assert service.post("events", rows(100), workspace=1_051).status_code == 202
