"""What only several processes can get wrong: one of them is killed, or the one that they work for."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.payloads import event, numbers
from tests.support.service import KEYS, Service
from tests.support.workers_service import WorkersService

CONFIG = {"sinks.parquet": {"flush_interval": "3600s"}}
CLIENTS = 6
BATCHES = 60
KILLS = 3
SECONDS_MAX = 30


@pytest.fixture
def service(tmp_path: Path) -> Iterator[WorkersService]:
    with WorkersService(tmp_path, CONFIG) as service:
        service.start()
        yield service


class Client(threading.Thread):
    """Sends its batches one after the other, each under its key until it was accepted."""

    def __init__(self, service: Service, first: int) -> None:
        super().__init__(daemon=True)
        self.service = service
        self.numbers = range(first, first + BATCHES)
        self.sent = 0

    def run(self) -> None:
        for number in self.numbers:
            key = str(uuid.uuid4())
            while not self._accepted(number, key):
                pass
            self.sent += 1

    def _accepted(self, number: int, key: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=SECONDS_MAX)
        headers = {"X-API-Key": KEYS[1], "Content-Type": "application/json", "Idempotency-Key": key}
        with contextlib.closing(connection):
            try:
                connection.request("POST", "/v1/events", json.dumps(event(number)), headers)
                return connection.getresponse().status == 202
            except (OSError, http.client.HTTPException):
                return False


def kill_a_worker(service: WorkersService) -> None:
    """And waits until another has taken its place."""
    before = service.worker_pids()
    os.kill(before[0], signal.SIGKILL)
    service.wait_until(lambda: len(set(service.worker_pids()) - {before[0]}) == len(before), SECONDS_MAX)


def counted(service: Service, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", service.admin("GET", "/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_killed_workers_lose_and_double_nothing(service: WorkersService) -> None:
    clients = [Client(service, 1_000 * index) for index in range(CLIENTS)]
    for client in clients:
        client.start()
    for kill in range(KILLS):
        due = CLIENTS * BATCHES * (kill + 1) // (KILLS + 1)
        service.wait_until(lambda due=due: sum(client.sent for client in clients) >= due, SECONDS_MAX)
        kill_a_worker(service)
    for client in clients:
        client.join(SECONDS_MAX)
    assert all(client.sent == BATCHES for client in clients)
    service.flush()
    assert sorted(numbers(service.table())) == sorted(
        number for client in clients for number in client.numbers
    )
    assert counted(service, "parquet_sink_worker_restarts") == KILLS


def test_counters_do_not_fall_when_a_worker_is_replaced(service: WorkersService) -> None:
    for number in range(40):
        assert service.post("events", json.dumps(event(number))).status_code == 202
    rows, requests = (
        'parquet_sink_rows_accepted_total{kind="events"}',
        ('http_requests_total{handler="/v1/events",method="POST",status="2xx"}'),
    )
    assert counted(service, rows) == counted(service, requests) == 40
    for _ in range(2):
        kill_a_worker(service)
        assert counted(service, rows) == counted(service, requests) == 40


def test_a_worker_that_replaces_another_goes_on_with_what_is_in_force(service: WorkersService) -> None:
    """What was reloaded since the start, although the file cannot be read any more."""
    service.configure({**CONFIG, "log": {"level": "debug"}})
    service.wait_until(lambda: "the configuration was reloaded: log.level" in service.stderr, SECONDS_MAX)
    service.configure({**CONFIG, "server": {"prot": 1}})
    service.wait_until(lambda: "did you mean port?" in service.stderr, SECONDS_MAX)
    for _ in range(2):
        kill_a_worker(service)
    service.wait_until(lambda: service.http.get("/ready").status_code == 200, SECONDS_MAX)
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEYS[1]}\r\nTransfer-Encoding: chunked\r\n"

    def is_said() -> bool:
        with socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS_MAX) as client:
            client.sendall(f"{head}X-Request-ID: left-early\r\n\r\n5\r\nab".encode())
        return "request_id=left-early" in service.stderr

    service.wait_until(is_said, SECONDS_MAX)
    assert service.post("events", json.dumps(event(1))).status_code == 202
    assert counted(service, "parquet_sink_worker_restarts") == 2


def test_workers_end_with_the_process_that_they_work_for(service: WorkersService) -> None:
    assert len(service.worker_pids()) == 2
    service.kill9()  # waits for them, too
    service.start()
    assert len(service.worker_pids()) == 2


def test_a_terminal_interrupts_the_main_process_alone(service: WorkersService) -> None:
    groups = {os.getpgid(pid) for pid in service.worker_pids()}
    assert os.getpgid(service.process.pid) not in groups
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(SECONDS_MAX) == 0
    assert "ended with code" not in service.stderr
