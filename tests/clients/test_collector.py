"""The OpenTelemetry Collector between an application's SDK and the service."""

import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.clients.test_captures import rows_of
from tests.clients.test_packages import COUNT, ODD_TEXT, PYTHON
from tests.clients.unsteady_proxy import unsteady_proxy
from tests.support.service import KEYS, REPOSITORY, Service, free_port

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

COLLECTOR: Final = REPOSITORY / ".collector" / "otelcol"
SECONDS_MAX: Final = 120.0


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        assert time.monotonic() < deadline, f"nobody listens on {port}"
        time.sleep(0.05)


@contextmanager
def collector(directory: Path, to: str, compression: str) -> Iterator[str]:
    """Runs it; yields the address that it listens on."""
    port = free_port()
    config = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {
            "otlp_http": {
                "logs_endpoint": f"{to}/v1/logs",
                "headers": {"authorization": f"Bearer {KEYS[1]}"},
                "compression": compression,
                "retry_on_failure": {"initial_interval": "200ms", "max_interval": "1s"},
            }
        },
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"logs": {"receivers": ["otlp"], "exporters": ["otlp_http"]}},
        },
    }
    path = directory / "collector.yaml"
    path.write_text(json.dumps(config))
    with (directory / "collector.log").open("wb") as log:
        process = subprocess.Popen([COLLECTOR, "--config", path], stdout=log, stderr=log)
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_all_records_of_a_collector_are_stored_once(
    own_service: Service, tmp_path: Path, compression: str
) -> None:
    with (
        unsteady_proxy(own_service.port, 2) as proxy,
        collector(tmp_path, proxy.url, compression) as address,
        subprocess.Popen([*PYTHON, "opentelemetry", address, KEYS[1], str(COUNT)], cwd=REPOSITORY) as sender,
    ):
        assert proxy.wait_until_served(1, SECONDS_MAX), (tmp_path / "collector.log").read_text()
        own_service.restart()
        assert sender.wait(SECONDS_MAX) == 0
        own_service.wait_until(lambda: len(rows_of(own_service, 1, "logs")) >= COUNT, SECONDS_MAX)

    rows = rows_of(own_service, 1, "logs")
    assert Counter(row["payload"]["message"] for row in rows) == Counter(
        f"record {number}" for number in range(COUNT)
    )
    assert {row["payload"]["attributes"]["text"] for row in rows} == {ODD_TEXT}
    assert {row["service"] for row in rows} == {"checkout"}
