"""An orderly stop drains; a kill loses nothing that was acknowledged and doubles nothing."""

import json
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.support.many_rows import ROWS, ManyRows, many_numbers
from tests.support.payloads import ROW_OF, event, numbers
from tests.support.service import KEYS, Service

CONFIG = {"sinks.parquet": {"flush_interval": "3600s"}}
WITH_A_LOCAL_JOURNAL = (
    "directory",
    *(pytest.param(each, marks=pytest.mark.heavy) for each in ("bucket", "tables", "workers")),
)
"""What is about the directory of the journal, or the account of one process: docs/kafka.md."""

BACKENDS = (*WITH_A_LOCAL_JOURNAL, pytest.param("kafka", marks=pytest.mark.heavy))


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_stop_puts_every_row_into_files(own_service: Service, stop: signal.Signals) -> None:
    for call, row in ROW_OF.items():
        for workspace in (1, 2):
            own_service.post_json(call, [row(n) for n in range(50)], workspace=workspace)
    assert own_service.data_files() == []

    own_service.process.send_signal(stop)
    code = own_service.process.wait(30)

    assert code == 0, own_service.stderr
    for call in ROW_OF:
        for workspace in (1, 2):
            assert numbers(own_service.table(call, workspace)) == list(range(50))


@pytest.mark.parametrize("backend", WITH_A_LOCAL_JOURNAL, scope="module")
def test_after_an_orderly_stop_a_start_has_nothing_to_publish(own_service: Service) -> None:
    own_service.post_json("events", [event(1)])
    own_service.restart()

    (line,) = own_service.status()["rows"]
    assert (line["accepted"], line["published"], line["buffered"]) == (1, 1, 0)
    assert own_service.flush()["flushed_rows"] == 0
    assert numbers(own_service.table()) == [1]


def test_a_kill_loses_and_doubles_nothing(own_service: Service) -> None:
    for number in range(30):
        own_service.post_json("events", [event(number)])
        if number == 10:
            own_service.flush()
        if number in (5, 15, 20):
            own_service.kill9()
            own_service.start()
    own_service.kill9()
    own_service.start()

    own_service.flush()

    assert sorted(numbers(own_service.table())) == list(range(30))
    own_service.restart()
    assert sorted(numbers(own_service.table())) == list(range(30))


def test_a_kill_under_load_keeps_every_acknowledged_batch_once(own_service: Service) -> None:
    acknowledged: list[int] = []
    unknown: list[int] = []
    ready = threading.Event()

    def send(first: int) -> None:
        with httpx.Client(base_url=own_service.base_url, timeout=10) as client:
            for number in range(first, first + 100_000):
                try:
                    response = client.post(
                        "/v1/events", content=json.dumps(event(number)), headers={"X-API-Key": KEYS[1]}
                    )
                except httpx.TransportError:
                    unknown.append(number)
                    return
                assert response.status_code == 202, response.text
                acknowledged.append(number)
                if len(acknowledged) > 200:
                    ready.set()

    threads = [threading.Thread(target=send, args=(i * 1_000_000,)) for i in range(4)]
    for thread in threads:
        thread.start()
    assert ready.wait(30)
    own_service.flush()
    own_service.kill9()
    for thread in threads:
        thread.join()
    own_service.start()
    own_service.flush()

    stored = numbers(own_service.table())
    assert len(stored) == len(set(stored)), "a row is double"
    assert set(acknowledged) <= set(stored), "an acknowledged row is missing"
    assert set(stored) <= set(acknowledged) | set(unknown), "a row that nobody sent"


def test_a_stop_under_load_answers_or_refuses_and_keeps_what_it_answered(own_service: Service) -> None:
    acknowledged: list[int] = []
    unknown: list[int] = []
    ready = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=own_service.base_url, timeout=30) as client:
            for number in range(100_000):
                try:
                    response = client.post(
                        "/v1/events", content=json.dumps(event(number)), headers={"X-API-Key": KEYS[1]}
                    )
                except httpx.TransportError:
                    unknown.append(number)
                    return
                if response.status_code == 503:
                    assert int(response.headers["Retry-After"]) >= 1
                    return
                assert response.status_code == 202, response.text
                acknowledged.append(number)
                if len(acknowledged) > 100:
                    ready.set()

    thread = threading.Thread(target=send)
    thread.start()
    assert ready.wait(30)
    code = own_service.terminate()
    thread.join()

    assert code == 0, own_service.stderr
    stored = numbers(own_service.table())
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    assert set(stored) <= set(acknowledged) | set(unknown)


def test_what_a_stop_has_no_time_to_write_is_published_by_the_next_start(tmp_path: Path) -> None:
    config = {"server": {"drain_timeout": "10ms"}, "sinks.parquet": {"flush_interval": "3600s"}}
    sizes = {"max_buffered_size": "1GB", "max_file_size": "1GB", "row_group_rows": 10_000_000}
    batches, rows = ManyRows(), 40 * ROWS
    with Service(tmp_path, {**config, "sinks.parquet": {**config["sinks.parquet"], **sizes}}) as service:
        service.start()
        for first in range(0, rows, ROWS):
            service.post_flatbuffer(batches.body(first))
        began = time.monotonic()
        assert service.terminate() == 0, service.stderr
        assert time.monotonic() - began < 5, "far more than twice the time to drain"
        assert service.table().num_rows < rows, "the time to drain was too long for this test"
        assert "the next start publishes them" in service.stderr

        service.start()
        service.flush()
        assert many_numbers(service.table()) == list(range(rows))
        assert "Traceback" not in service.stderr, service.stderr


def test_a_stop_under_load_without_time_to_drain_loses_nothing(tmp_path: Path) -> None:
    sink = {"flush_interval": "50ms", "max_file_size": "100KB"}
    with Service(tmp_path, {"server": {"drain_timeout": "10ms"}, "sinks.parquet": sink}) as service:
        acknowledged: list[int] = []
        unknown: list[int] = []

        def send(first: int) -> None:
            with httpx.Client(base_url=service.base_url, timeout=30) as client:
                for number in range(first, first + 100_000):
                    body = json.dumps(event(number))
                    try:
                        response = client.post("/v1/events", content=body, headers={"X-API-Key": KEYS[1]})
                    except httpx.TransportError:
                        unknown.append(number)
                        return
                    if response.status_code != 202:
                        return
                    acknowledged.append(number)

        for stop in range(3):
            service.start()
            before = len(acknowledged)
            threads = [
                threading.Thread(target=send, args=((stop * 10 + i) * 100_000,), daemon=True)
                for i in range(4)
            ]
            for thread in threads:
                thread.start()
            service.wait_until(lambda: len(acknowledged) > before + 200, 30)  # noqa: B023
            assert service.terminate() == 0, service.stderr
            for thread in threads:
                thread.join()
        service.start()
        service.flush()

        stored = numbers(service.table())
        assert len(stored) == len(set(stored)), "a row is double"
        assert set(acknowledged) <= set(stored), "an acknowledged row is missing"
        assert set(stored) <= set(acknowledged) | set(unknown), "a row that nobody sent"


@pytest.mark.parametrize("backend", WITH_A_LOCAL_JOURNAL, scope="module")
def test_a_second_process_on_the_same_directories_is_refused(own_service: Service) -> None:
    own_service.post_json("events", [event(1)])
    with Service(own_service.directory) as second:
        code = second.launch().wait(30)

        assert code != 0
        assert f"in use by process {own_service.process.pid}" in second.stderr
    assert own_service.http.get("/ready").status_code == 200


def test_a_connection_that_stays_open_does_not_hold_up_a_stop(own_service: Service) -> None:
    with socket.create_connection(("127.0.0.1", own_service.port)) as idle:
        idle.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        own_service.post_json("events", [event(1)])

        assert own_service.terminate() == 0, own_service.stderr

    assert numbers(own_service.table()) == [1]


@pytest.mark.parametrize("backend", WITH_A_LOCAL_JOURNAL, scope="module")
def test_nothing_but_data_files_stands_below_the_data_directory(own_service: Service) -> None:
    own_service.post_json("events", [event(1)], wait="file")

    assert own_service.journal.is_dir()
    assert len(own_service.data_files()) == 1
    found = [path for path in own_service.parquet.rglob("*") if path.is_file()]
    assert [path.suffix for path in found if path.name != ".owner"] == [".parquet"]
