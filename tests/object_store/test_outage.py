"""The real service while its object store does not answer, and afterwards."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bucket_service import BucketService
from tests.support.fault_proxy import Fault, FaultProxy, no_fault
from tests.support.payloads import event, numbers
from tests.support.s3_server import S3Server
from tests.support.service import running

CONFIG = {
    "journal": {"max_size": "256KB", "segment_size": "64KB"},
    "sinks.parquet": {"flush_interval": "100ms"},
    "sinks.parquet.store": {"request_timeout": "500ms"},
    "server": {"drain_timeout": "500ms", "workspace_share": 1.0},
}
WAIT_SECONDS_MAX = 30


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture
def service(tmp_path: Path, proxy: FaultProxy, s3_server: S3Server) -> Iterator[BucketService]:
    with BucketService(tmp_path, CONFIG, endpoint=proxy.endpoint, server=s3_server.endpoint) as service:
        yield service


def post_until_refused(service: BucketService) -> int:
    """Batches of 4 KB, numbered from 0 on; returns how many were taken before the first 503."""
    for number in range(2_000):
        response = service.post("events", json.dumps([event(number, noise="x" * 4_000)]))
        if response.status_code != 202:
            assert response.status_code == 503, response.text
            assert int(response.headers["Retry-After"]) >= 1
            return number
    raise AssertionError("a journal of 256 KB took 2,000 batches of 4 KB")


def post_until_taken(service: BucketService, number: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        response = service.post("events", json.dumps([event(number)]))
        if response.status_code == 202:
            return
        assert response.status_code == 503, response.text
    raise AssertionError(f"still refused: {response.text}")


def test_a_store_that_is_down_fills_the_journal_and_comes_back(
    service: BucketService, proxy: FaultProxy
) -> None:
    service.start()
    proxy.down()
    taken = post_until_refused(service)
    assert "http" in service.status()["problem"]
    assert service.http.get("/ready").status_code == 503
    assert service.data_files() == []

    proxy.up()
    post_until_taken(service, taken)
    service.flush()
    assert sorted(numbers(service.table())) == list(range(taken + 1))
    assert service.status()["problem"] is None
    assert service.terminate() == 0, service.stderr


def test_batches_are_taken_while_an_upload_hangs(
    tmp_path: Path, proxy: FaultProxy, s3_server: S3Server
) -> None:
    hanging, go_on = threading.Event(), threading.Event()

    def hold(method: str, path: str) -> None:
        if method == "PUT":
            hanging.set()
            assert go_on.wait(WAIT_SECONDS_MAX)

    proxy.choose = hold
    config = {**CONFIG, "sinks.parquet.store": {"request_timeout": f"{WAIT_SECONDS_MAX}s"}}
    new = BucketService(tmp_path, config, endpoint=proxy.endpoint, server=s3_server.endpoint)
    with running(new) as service:
        service.post_json("events", [event(0)])
        assert hanging.wait(WAIT_SECONDS_MAX)
        for number in range(1, 50):
            service.post_json("events", [event(number)])
        assert service.data_files() == [], "the upload still hangs"
        go_on.set()
        service.flush()
        assert sorted(numbers(service.table())) == list(range(50))


@pytest.mark.parametrize("outage", ["down", "stall"])
def test_a_stop_and_a_start_while_the_store_is_away_lose_nothing(
    service: BucketService, proxy: FaultProxy, outage: str
) -> None:
    service.start()
    if outage == "down":
        proxy.down()
    else:
        proxy.choose = lambda method, path: Fault.STALL
    service.post_json("events", [event(number) for number in range(50)])
    service.wait_until(lambda: service.status()["problem"] is not None, WAIT_SECONDS_MAX)
    assert service.terminate() == 0, service.stderr

    service.launch()
    service.wait_until(lambda: "interrupted upload" in service.stderr, WAIT_SECONDS_MAX)
    refused = service.post("events", json.dumps([event(50)]))
    assert refused.status_code == 503, "the upload that the stop has interrupted is to be finished first"
    assert service.terminate() == 0, service.stderr

    if outage == "down":
        proxy.up()
    proxy.choose = no_fault
    service.start()
    service.post_json("events", [event(50)])
    service.flush()
    assert sorted(numbers(service.table())) == list(range(51))
    assert "Traceback" not in service.stderr, service.stderr


def test_a_start_without_the_store_takes_batches(service: BucketService, proxy: FaultProxy) -> None:
    proxy.down()
    service.start()
    service.post_json("events", [event(1)])
    assert "cannot be used; batches are accepted nevertheless" in service.stderr

    proxy.up()
    service.flush()
    assert numbers(service.table()) == [1]


def test_a_published_file_is_asked_for_again_later(service: BucketService, proxy: FaultProxy) -> None:
    service.start()
    service.post_json("events", [event(1)], wait="file")
    (file,) = service.files()
    proxy.down()
    response = service.admin("GET", f"/files/{file['path']}")
    assert response.status_code == 503, response.text
    assert int(response.headers["Retry-After"]) >= 1

    proxy.up()
    assert service.admin("GET", f"/files/{file['path']}").content == service.data_files()[0].read_bytes()


def test_a_range_of_a_file_is_a_range_of_the_object(service: BucketService, proxy: FaultProxy) -> None:
    service.start()
    service.post_json("events", [event(number) for number in range(1_000)], wait="file")
    (file,), content = service.files(), service.data_files()[0].read_bytes()
    proxy.requests.clear()
    answer = service.admin("GET", f"/files/{file['path']}", headers={"Range": "bytes=100-199"})
    assert answer.status_code == 206
    assert answer.content == content[100:200]
    assert proxy.requests == {"HEAD": 1, "GET": 1}
