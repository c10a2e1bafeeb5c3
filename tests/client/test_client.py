"""The Python client against the real service: every row once, whatever fails between them."""

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

import polars
import pyarrow as pa
import pytest

from tests.clients.unsteady_proxy import unsteady_proxy
from tests.support.service import KEYS, REPOSITORY, Service

CLIENT: Final = REPOSITORY / "client"
sys.path.insert(0, str(CLIENT))

from parquet_sink_client import Client, Refused, SinkFull, SinkHandler  # noqa: E402 - found by the line above


def payloads(service: Service, kind: str, workspace: int) -> list[dict[str, Any]]:
    service.flush()
    return [json.loads(text) for text in service.table(kind, workspace)["payload"].to_pylist()]


def test_rows_of_all_kinds_arrive(service: Service, workspace: int) -> None:
    with Client(service.base_url, KEYS[workspace]) as sink:
        sink.track(
            "signed_up", device_id="9f86d081-884c-4d65-9a2f-eaa0c55ad015", properties={"plan": "pro ✓"}
        )
        sink.log("disk almost full", level="warning", service="web", free_mb=120)
        sink.snapshot("github", "user/repo", {"stars": 100})
        assert sink.flush(30)

    assert payloads(service, "events", workspace) == [{"plan": "pro ✓"}]
    assert payloads(service, "logs", workspace) == [{"message": "disk almost full", "free_mb": 120}]
    assert payloads(service, "snapshots", workspace) == [{"stars": 100}]


@pytest.mark.parametrize("spooled", [False, True])
def test_refusals_of_the_service_lose_and_double_nothing(
    service: Service, workspace: int, tmp_path: Path, spooled: bool
) -> None:
    with unsteady_proxy(service.port, refusals=3) as proxy:
        spool = tmp_path if spooled else None
        with Client(proxy.url, KEYS[workspace], spool=spool, batch_rows=100, interval_s=0.05) as sink:
            threads = [
                threading.Thread(target=lambda: [sink.log("row", number=number) for number in range(250)])
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sink.flush(60)

    found = sorted(row["number"] for row in payloads(service, "logs", workspace))
    assert found == sorted(list(range(250)) * 4)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_leaves_is_sent_by_the_next(
    service: Service, workspace: int, tmp_path: Path
) -> None:
    """Its rows were in files before its calls returned, though nobody listened."""
    program = (
        "import os, sys; from parquet_sink_client import Client\n"
        "sink = Client('http://127.0.0.1:9', sys.argv[1], spool=sys.argv[2], batch_rows=7)\n"
        "for number in range(40): sink.log('row', number=number)\n"
        "os._exit(9)\n"
    )
    command = [sys.executable, "-c", program, KEYS[workspace], str(tmp_path)]
    assert subprocess.run(command, cwd=CLIENT, check=False).returncode == 9
    torn = next(tmp_path.glob("*.open"))
    with torn.open("ab") as file:
        file.write(b'{"message": "half a r')

    with Client(service.base_url, KEYS[workspace], spool=tmp_path) as sink:
        assert sink.flush(30)

    assert sorted(row["number"] for row in payloads(service, "logs", workspace)) == list(range(40))
    assert list(tmp_path.iterdir()) == []


def test_refused_rows_are_told_and_the_others_stored(service: Service, workspace: int) -> None:
    told: list[Refused] = []
    with Client(service.base_url, KEYS[workspace], on_refused=told.append) as sink:
        sink.send("logs", {"message": "good"})
        sink.send("logs", {"message": "bad", "level": ["no", "level"]})
        assert sink.flush(30)

    assert [refused.status for refused in told] == [207]
    assert told[0].errors[0]["line"] == 2
    assert payloads(service, "logs", workspace) == [{"message": "good"}]


def test_memory_is_bounded(tmp_path: Path) -> None:
    sink = Client("http://127.0.0.1:9", KEYS[1], memory_bytes_max=10_000, exit_timeout_s=0.1)
    for number in range(40):
        sink.log("x" * 100, number=number)
    with pytest.raises(SinkFull, match="wait to be sent"):
        sink.log("x" * 10_000)
    sink.close()


def test_a_log_record_becomes_a_row(service: Service, workspace: int) -> None:
    with Client(service.base_url, KEYS[workspace]) as sink:
        logger = logging.Logger("checkout")
        logger.addHandler(SinkHandler(sink, service="web", source="host-1"))
        logger.warning("slow: %d ms", 250, extra={"path": "/cart", "level": 7})
        try:
            raise ValueError("no such cart")
        except ValueError:
            logger.exception("failed")
        assert sink.flush(30)

    first, second = payloads(service, "logs", workspace)
    table = service.table("logs", workspace)
    assert first == {"message": "slow: 250 ms", "logger": "checkout", "path": "/cart", "extra_level": 7}
    assert "ValueError: no such cart" in second["exception"]
    assert table["level"].to_pylist() == ["warning", "error"]
    assert set(table["service"].to_pylist()) == {"web"}
    assert set(table["source"].to_pylist()) == {"host-1"}


@pytest.mark.parametrize("make", [pa.table, polars.DataFrame], ids=["arrow", "polars"])
def test_a_frame_is_sent_row_by_row(service: Service, workspace: int, make: Any) -> None:
    columns = {
        "message": [f"line {n}" for n in range(1_200)],
        "level": ["info"] * 1_200,
        "size": range(1_200),
    }
    with Client(service.base_url, KEYS[workspace]) as sink:
        sink.send_frame("logs", make({name: list(values) for name, values in columns.items()}))
        assert sink.flush(30)

    rows = payloads(service, "logs", workspace)
    assert sorted(row["size"] for row in rows) == list(range(1_200))
    assert {row["message"] for row in rows} == set(columns["message"])
