"""A start with a long journal: up at once, ready within seconds, and every row published once."""

import contextlib
import time
from pathlib import Path

import httpx
import pytest

from tests.support.many_rows import ROWS, ManyRows, many_numbers
from tests.support.service import Service

JOURNALLED_ROWS = 1_000_000
READY_SECONDS_MAX = 60.0
NOT_FLUSHED = {
    "flush_interval": "3600s",
    "max_buffered_size": "4GB",
    "max_file_size": "4GB",
    "row_group_rows": 10 * JOURNALLED_ROWS,
}


def journal_rows(directory: Path, rows: int) -> None:
    """Leaves behind a killed service's journal with so many rows, none of them in a file."""
    batches = ManyRows()
    with Service(directory, {"sinks.parquet": NOT_FLUSHED}) as service:
        service.start()
        for first in range(0, rows, ROWS):
            service.post_flatbuffer(batches.body(first))
        assert service.status()["buffer"]["rows"] == rows
        service.kill9()
        assert service.data_files() == []


def seconds_until_ready(service: Service) -> tuple[float, int]:
    """Starts it: how long until /ready says 200, and how often /health said 200 and /ready 503 before."""
    began = time.monotonic()
    service.launch()
    alive = 0
    while time.monotonic() - began < READY_SECONDS_MAX:
        with contextlib.suppress(httpx.TransportError):
            health, ready = service.http.get("/health"), service.http.get("/ready")
            assert health.status_code == 200
            if ready.status_code == 200:
                return time.monotonic() - began, alive
            assert ready.status_code == 503
            assert "starting" in ready.json()["reason"]
            alive += 1
            if service.post("events", b"{}").status_code != 503:
                # It became ready between the two.
                assert service.http.get("/ready").status_code == 200
    raise AssertionError(f"not ready after {READY_SECONDS_MAX} s:\n{service.stderr[-3000:]}")


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_a_million_journalled_rows_are_replayed_and_published_once(tmp_path: Path) -> None:
    journal_rows(tmp_path, JOURNALLED_ROWS)
    # With the limits of the default configuration, which the journal exceeds: files are written meanwhile.
    with Service(tmp_path) as service:
        seconds, alive = seconds_until_ready(service)
        print(f"ready {seconds:.1f} s after the process was started, replaying {JOURNALLED_ROWS} rows")
        assert alive > 0, "the replay was over before anybody could look"
        service.flush()
        assert many_numbers(service.table()) == list(range(JOURNALLED_ROWS))
        service.kill9()
        service.start()
        service.flush()
        assert service.table().num_rows == JOURNALLED_ROWS
        assert "Traceback" not in service.stderr, service.stderr
