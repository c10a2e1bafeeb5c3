"""/metrics has every metric of the contract, and counts what happened."""

import json
import re
import socket

from tests.support.payloads import ROW_OF, event
from tests.support.service import KEYS, Service

CONFIG = {"sinks.parquet": {"flush_interval": "3600s"}}
CONTRACT = (
    "batches_received_total",
    "event_rows_written_total",
    "log_rows_written_total",
    "snapshot_rows_written_total",
    "bytes_written_total",
    "files_created_total",
    "write_errors_total",
    "decode_errors_total",
)


def test_every_metric_of_the_contract_is_there_from_the_start(own_service: Service) -> None:
    samples = own_service.metrics()

    assert {name: samples.get(f"parquet_sink_{name}") for name in CONTRACT} == dict.fromkeys(CONTRACT, 0.0)


def test_each_metric_moves_by_what_happened(own_service: Service) -> None:
    service = own_service
    service.post_json("events", [event(n) for n in range(5)])
    service.post_json("events", [event(n) for n in range(2)], workspace=2)
    service.post_json("logs", [ROW_OF["logs"](n) for n in range(3)])
    service.post_json("snapshots", [ROW_OF["snapshots"](n) for n in range(4)])
    assert service.post("events", json.dumps([event(9), {"type": "x"}])).status_code == 207
    assert service.post("ingest", b"\xff" * 64).status_code == 400
    before = service.metrics()
    service.flush()
    after = service.metrics()

    assert before["parquet_sink_event_rows_written_total"] == 0, "written means: in a published file"
    expected = {
        "batches_received_total": 6,
        "event_rows_written_total": 8,
        "log_rows_written_total": 3,
        "snapshot_rows_written_total": 4,
        "files_created_total": 4,
        "write_errors_total": 0,
        "decode_errors_total": 1,
    }
    assert {name: after[f"parquet_sink_{name}"] for name in expected} == expected
    on_disk = sum(path.stat().st_size for path in service.data_files())
    assert after["parquet_sink_bytes_written_total"] == on_disk


def test_the_operators_metrics_are_there(service: Service) -> None:
    service.post("events", json.dumps([event(1), event(2, timestamp="none")]))
    names = "\n".join(service.metrics())

    for wanted in (
        r"rows_accepted_total\{",
        r"rows_rejected_total\{",
        r"journal_bytes",
        r"oldest_\w+_seconds",
        r"commit_group_rows_bucket",
        r"journal_sync_seconds_bucket",
        r"buffered_rows",
        r"buffered_bytes",
        r"open_partitions",
        r"recovery_rows",
    ):
        assert re.search(f"parquet_sink_({wanted})", names), wanted
    assert "http_requests_total" in names or "http_request_duration" in names


def test_labels_hold_nothing_that_a_client_chooses(service: Service) -> None:
    for path in ("/no/such/path-17", "/v1/events/secret-18", "/files/1/secret-19.parquet"):
        service.admin("GET", path)
    service.post("events", json.dumps([event(1, type="secret-20")]))
    service.http.request("FROBNICATE", "/v1/events")
    service.http.post("/v1/events", params={"token": KEYS[1]}, content=b"{}")

    text = service.admin("GET", "/metrics").text

    for secret in ("path-17", "secret-", "FROBNICATE", KEYS[1]):
        assert secret not in text
    assert "text/plain" in service.admin("GET", "/metrics").headers["Content-Type"]


def test_a_client_that_goes_away_counts_as_its_own_fault(own_service: Service) -> None:
    fields = ["Host: x", f"X-API-Key: {KEYS[1]}", "Transfer-Encoding: chunked"]
    head = "\r\n".join(["POST /v1/events HTTP/1.1", *fields, "", "ff", "abc"])
    with socket.create_connection(("127.0.0.1", own_service.port), timeout=10) as client:
        client.sendall(head.encode())

    counted: dict[str, float] = {}

    def is_counted() -> bool:
        counted.update(
            (name, value)
            for name, value in own_service.metrics().items()
            if name.startswith("http_requests_total") and "/v1/events" in name
        )
        return bool(counted)

    own_service.wait_until(is_counted, 10)
    assert counted == {'http_requests_total{handler="/v1/events",method="POST",status="4xx"}': 1.0}
