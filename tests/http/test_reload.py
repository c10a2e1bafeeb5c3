"""What an operator changes on disk counts without a restart, and what does not is named."""

import json
import signal
import socket
from typing import Any

import pytest

from tests.support.payloads import event
from tests.support.service import KEYS, Service

BACKENDS = ["directory", "workers"]
QUOTA: dict[str, Any] = {"quota": [{"workspace": 1, "rows_per_second": 0.01, "burst": 1}]}
SECONDS = 15.0
"""Far above what it takes, for a machine under load."""


def refused(service: Service) -> bool:
    return service.post("events", json.dumps([event(1), event(2)])).status_code == 429


@pytest.fixture(scope="module")
def plain(service: Service) -> Service:
    return service


def test_a_quota_comes_and_goes(plain: Service) -> None:
    assert not refused(plain)
    plain.configure(QUOTA)
    plain.wait_until(lambda: refused(plain), SECONDS)
    plain.configure({})
    plain.wait_until(lambda: not refused(plain), SECONDS)

    assert plain.stderr.count("the configuration was reloaded: quota") == 2, "said by one process"


def test_levels_of_loggers(plain: Service) -> None:
    plain.configure({"log": {"level": "debug"}, "log.levels": {"uvicorn": "error"}})
    plain.wait_until(lambda: "the configuration was reloaded: log.level" in plain.stderr, SECONDS)
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEYS[1]}\r\nTransfer-Encoding: chunked\r\n"

    def is_said() -> bool:
        with socket.create_connection(("127.0.0.1", plain.port), timeout=10) as client:
            client.sendall(f"{head}X-Request-ID: left-early\r\n\r\n5\r\nab".encode())
        return "the client disconnected request_id=left-early workspace_id=1" in plain.stderr

    plain.wait_until(is_said, SECONDS)
    plain.configure({})


def test_what_waits_for_a_restart_is_named_once(plain: Service) -> None:
    plain.configure({"server": {"max_rows_per_request": 7}, "sinks.parquet": {"rotation": "hourly"}})
    wanted = (
        "WARNING app.run.reload changed in the configuration, takes effect at the next start: "
        "server.max_rows_per_request, sinks.parquet.rotation"
    )
    plain.wait_until(lambda: wanted in plain.stderr, SECONDS)
    plain.process.send_signal(signal.SIGHUP)
    plain.configure({})
    assert plain.stderr.count(wanted) == 1


def test_a_mistake_changes_nothing(plain: Service) -> None:
    plain.configure({"server": {"prot": 1}, **QUOTA})
    plain.wait_until(lambda: "the configuration was not reloaded" in plain.stderr, SECONDS)

    assert "server.prot: unknown key; did you mean port?" in plain.stderr
    assert not refused(plain)
    plain.configure({})


def test_sighup_reads_everything_again(plain: Service) -> None:
    plain.process.send_signal(signal.SIGHUP)
    plain.wait_until(lambda: "SIGHUP: reloading keys, certificates" in plain.stderr, SECONDS)

    assert plain.post_json("events", [event(3)]) == 1
