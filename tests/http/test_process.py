"""What the process does with signals, with a log that nobody reads, and with its limits."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.support.payloads import event, numbers
from tests.support.service import KEYS, REPOSITORY, Service, running

NEW_KEY = "a1a2a3a4a5a6a7a8a9aaabacadaeafb0"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM])
def test_a_signal_that_means_nothing_kills_nobody(own_service: Service, number: signal.Signals) -> None:
    own_service.process.send_signal(number)
    own_service.wait_until(lambda: f"{number.name} has no meaning for this service" in own_service.stderr, 10)
    own_service.post_json("events", [event(1)], wait="file")


def test_quit_drains_as_term_does(own_service: Service) -> None:
    own_service.post_json("events", [event(1)])
    own_service.process.send_signal(signal.SIGQUIT)
    assert own_service.process.wait(30) == 0, own_service.stderr
    assert numbers(own_service.table()) == [1]


def test_hup_reads_the_keys_again_and_so_does_a_change_within_a_second(own_service: Service) -> None:
    keys = own_service.directory / "api-keys.txt"

    def status(key: str) -> int:
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        return httpx.post(f"{own_service.base_url}/v1/events", json=[event(1)], headers=headers).status_code

    keys.write_text(f"{keys.read_text()}{NEW_KEY}:7\n")
    changed = time.monotonic()
    own_service.wait_until(lambda: status(NEW_KEY) == 202, 5)
    assert time.monotonic() - changed < 2.0  # a second, and what a busy machine adds
    own_service.process.send_signal(signal.SIGHUP)
    own_service.wait_until(lambda: "SIGHUP: reloading keys" in own_service.stderr, 10)
    assert status(KEYS[1]) == 202


def test_a_log_that_nobody_reads_holds_up_neither_requests_nor_the_end(tmp_path: Path) -> None:
    """Standard error is a pipe that is full: each refused key would be a line."""
    service = Service(tmp_path, {"sinks.parquet": {"metrics_interval": "100ms"}})
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    try:
        while True:
            os.write(write_end, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(write_end, True)
    config = str(tmp_path / "parquet-sink.toml")
    command = [sys.executable, "-m", "app.cli", "serve", "--config", config]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=write_end, stdout=subprocess.DEVNULL) as process:
        service._process = process
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if service.http.get("/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        service.post_json("events", [event(1)], wait="file")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    os.close(read_end)
    os.close(write_end)
    assert numbers(service.table()) == [1]
    service.http.close()


def test_the_soft_limit_of_descriptors_is_raised(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowered = min(256, hard)
    with running(Service(tmp_path)) as service:
        assert service.terminate() == 0
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowered, hard))
        try:
            service.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        limits = Path(f"/proc/{service.process.pid}/limits").read_text()
        (line,) = [each for each in limits.splitlines() if each.startswith("Max open files")]
        assert line.split()[3] == str(hard)


def test_a_flood_of_connections_leaves_descriptors_for_files(tmp_path: Path) -> None:
    with Service(tmp_path) as service, contextlib.ExitStack() as stack:
        process = service.launch()
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (256, 256))
        service.wait_until(lambda: "ready: " in service.stderr, 30)
        keep = stack.enter_context(httpx.Client(base_url=service.base_url, headers={"X-API-Key": KEYS[1]}))
        assert keep.post("/v1/events", json=event(1)).status_code == 202
        for _ in range(400):
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port), 5))
        assert keep.post("/v1/events", json=event(2)).status_code == 202
        assert keep.post("/flush").status_code == 200
        assert numbers(service.table()) == [1, 2]
    assert "connections are limited to 128" in service.stderr
