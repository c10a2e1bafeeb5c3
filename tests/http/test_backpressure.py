"""What is too much is refused with when to come again, one workspace's flood does not shut the others out."""

import gzip
import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.payloads import event, numbers
from tests.support.service import KEYS, Service, running_service

SHARE_OF_JOURNAL = {
    # The writer publishes before the time from half of journal.max_size on. The share lies below that here,
    # so that rows stay where they are.
    "server": {"workspace_share": 0.25},
    "journal": {"segment_size": "64KiB", "max_size": "800KB"},
    "sinks.parquet": {"flush_interval": "3600s"},
}
SMALL_JOURNAL = {
    "server": {"workspace_share": 1.0},
    "journal": {"segment_size": "16KiB", "max_size": "64KiB"},
    "sinks.parquet": {"flush_interval": "3600s"},
}


def post(service: Service, first: int, workspace: int = 1) -> httpx.Response:
    rows = [event(number) for number in range(first, first + 100)]
    return service.post("events", json.dumps(rows), workspace=workspace)


@pytest.fixture
def flooded(tmp_path: Path) -> Iterator[tuple[Service, list[int], httpx.Response]]:
    """A workspace that has sent until it was refused: the numbers accepted, and the refusal."""
    with running_service(tmp_path, SHARE_OF_JOURNAL) as service:
        accepted: list[int] = []
        refusals: list[httpx.Response] = []

        def refused() -> bool:
            response = post(service, len(accepted))
            if response.status_code == 202:
                accepted.extend(range(len(accepted), len(accepted) + 100))
            else:
                refusals.append(response)
            return bool(refusals)

        service.wait_until(refused, 30)
        yield service, accepted, refusals[0]


def test_a_workspace_that_floods_the_journal_is_refused_alone(
    flooded: tuple[Service, list[int], httpx.Response],
) -> None:
    service, accepted, refusal = flooded
    assert refusal.status_code == 429, refusal.text
    assert refusal.json()["error"] == "workspace_over_share"
    assert int(refusal.headers["Retry-After"]) >= 1
    assert service.status()["journal"]["bytes"] < 400_000, "the journal as a whole is not half full"
    assert post(service, 0, workspace=2).status_code == 202
    assert service.http.get("/ready").status_code == 200

    service.flush(workspace=1)
    assert post(service, len(accepted)).status_code == 202, "there is room again without a restart"
    service.flush()
    assert numbers(service.table("events", 1)) == list(range(len(accepted) + 100))
    assert numbers(service.table("events", 2)) == list(range(100))


def test_the_metrics_count_what_was_refused(flooded: tuple[Service, list[int], httpx.Response]) -> None:
    service, _, _ = flooded
    refused = {
        name: value
        for name, value in service.metrics().items()
        if name.startswith("parquet_sink_backpressure_refusals_total") and value
    }
    assert refused == {'parquet_sink_backpressure_refusals_total{reason="workspace_over_share"}': 1.0}


def test_a_full_journal_refuses_and_is_gone_on_from_without_a_restart(tmp_path: Path) -> None:
    with running_service(tmp_path, SMALL_JOURNAL) as service:
        accepted = 0
        refused: list[httpx.Response] = []

        def until(status: int) -> bool:
            nonlocal accepted
            response = post(service, accepted)
            if response.status_code == 202:
                accepted += 100
            else:
                refused.append(response)
            return response.status_code == status

        for _ in range(3):
            service.wait_until(lambda: until(503), 30)
            service.wait_until(lambda: until(202), 30)
        assert {response.json()["error"] for response in refused} == {"journal_full"}
        assert all(int(response.headers["Retry-After"]) >= 1 for response in refused)
        service.flush()
        assert numbers(service.table()) == list(range(accepted))


def test_a_body_that_has_no_room_once_it_is_unpacked_is_to_be_sent_again(tmp_path: Path) -> None:
    config = {"server": {"max_body_size": "100KB", "max_inflight_size": "150KB", "workspace_share": 1.0}}
    packed = gzip.compress(json.dumps(event(1)).encode() + b" " * 90_000)
    with running_service(tmp_path, config) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as slow:
            fields = ["Host: x", f"X-API-Key: {KEYS[2]}", "Content-Length: 100000"]
            head = "\r\n".join(["POST /v1/events HTTP/1.1", *fields, "", ""])
            slow.sendall(head.encode() + b" ")
            service.wait_until(lambda: inflight_bytes(service) == 100_000, 10)

            refused = service.post("events", packed, headers={"Content-Encoding": "gzip"})

            assert refused.status_code == 503, refused.text
            assert int(refused.headers["Retry-After"]) >= 1
            assert inflight_bytes(service) == 100_000, "what was refused holds nothing"
        service.wait_until(lambda: inflight_bytes(service) == 0, 10)
        assert service.post("events", packed, headers={"Content-Encoding": "gzip"}).status_code == 202


def inflight_bytes(service: Service) -> float:
    return service.metrics()["parquet_sink_inflight_bytes"]


def test_many_small_bodies_that_unpack_to_large_ones_do_not_fill_the_memory(tmp_path: Path) -> None:
    """400 MB of bodies, all at the same time, where 20 MB may be in flight."""
    config = {
        "server": {"max_body_size": "5MB", "max_inflight_size": "20MB"},
        "sinks.parquet": {"max_buffered_size": "20MB"},
    }
    packed = gzip.compress(json.dumps(event(1, filling="x" * 4_000_000)).encode())
    request = (
        f"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEYS[1]}\r\nContent-Encoding: gzip\r\n"
        f"Content-Length: {len(packed)}\r\nConnection: close\r\n\r\n"
    ).encode() + packed
    with running_service(tmp_path, config) as service:
        before = peak_bytes(service)
        with ExitStack() as stack:
            address = ("127.0.0.1", service.port)
            clients = [stack.enter_context(socket.create_connection(address, 60)) for _ in range(100)]
            for client in clients:
                client.sendall(request)
            statuses = Counter(client.recv(65_536).split(b" ")[1] for client in clients)

        assert set(statuses) <= {b"202", b"429", b"503"}, statuses
        assert statuses[b"202"] > 0
        assert peak_bytes(service) - before < 250_000_000


def peak_bytes(service: Service) -> int:
    """The most memory that the process has had at once."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
