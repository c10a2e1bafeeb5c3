"""Segment batches and OpenTelemetry logs beside native JSON of the same content: rows/s and CPU a row.

python benchmarks/bench_clients.py [--requests 400] [--rows 100] [--connections 4] [--json]

The native bodies are what the service itself makes of the others, so that the same rows are stored.
"""

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from app.clients import otlp_protobuf, segment
from app.clients.call import ClientRequest, Rows
from benchmarks.service import BenchmarkedService

TIME_MS = int(time.time() * 1000)


class Sent(msgspec.Struct):
    """Requests of one kind. path and headers: of all of them."""

    name: str
    path: str
    headers: dict[str, str]
    bodies: list[bytes]


def segment_bodies(requests: int, rows: int, id_name: str = "messageId") -> list[bytes]:
    """id_name: the member for a message's id; with any other than messageId it is not known as one."""
    sent_at = "2026-11-27T10:30:26Z"
    batches = [
        {"batch": [message(number, id_name) for number in range(rows)], "sentAt": sent_at}
        for _ in range(requests)
    ]
    return [json.dumps(batch).encode() for batch in batches]


def message(number: int, id_name: str) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "page_view",
        "anonymousId": str(uuid.UUID(int=number % 50 << 64 | 0x4000_8000_0000_0000_0000)),
        "userId": f"user-{number}",
        id_name: str(uuid.uuid4()),
        "timestamp": "2026-11-27T10:30:26.356+00:00",
        "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
        "integrations": {},
        "properties": {
            "page": f"/products/{number % 97}",
            "referrer": "https://www.example.com/search?q=x",
            "duration_ms": 100 + number,
            "price": 12.5,
            "plan": "team",
            "ok": True,
        },
    }


def otlp_bodies(requests: int, rows: int) -> list[bytes]:
    bodies = []
    for _ in range(requests):
        request = ExportLogsServiceRequest()
        resource_logs = request.resource_logs.add()
        for name, value in (("service.name", "web"), ("host.name", "host-1.example.com")):
            resource_logs.resource.attributes.add(key=name).value.string_value = value
        scope_logs = resource_logs.scope_logs.add()
        scope_logs.scope.name = "app"
        for number in range(rows):
            time_ns = (TIME_MS + number) * 1_000_000
            record = scope_logs.log_records.add(time_unix_nano=time_ns, severity_number=9)
            record.body.string_value = f"request {number} took longer than expected"
            record.trace_id, record.span_id = bytes(range(16)), bytes(range(8))
            record.attributes.add(key="path").value.string_value = f"/products/{number % 97}"
            record.attributes.add(key="status").value.int_value = 200
            record.attributes.add(key="duration_ms").value.double_value = 100.5 + number
        bodies.append(request.SerializeToString())
    return bodies


def native(rows: Rows) -> bytes:
    return b"[%b]" % b",".join(rows.lines)


def segment_rows(body: bytes) -> bytes:
    request = ClientRequest("POST", "/v1/batch", {}, {}, {}, TIME_MS, lambda data, encoding: data, body)
    return native(segment.read(request).rows[0])


def otlp_rows(body: bytes) -> bytes:
    return native(otlp_protobuf.read(body).rows[0])


def measure(sent: Sent, connections: int) -> dict[str, float]:
    """Seconds, and CPU seconds of the service, for all requests but the first."""
    with tempfile.TemporaryDirectory() as directory, BenchmarkedService(Path(directory)) as service:
        key = service.keys.read_text().partition(":")[0]
        headers = {**sent.headers, "X-API-Key": key}
        post(service.port, sent.path, headers, sent.bodies[:1])
        cpu, began = service.cpu_s(), time.perf_counter()
        shares = [sent.bodies[1:][at::connections] for at in range(connections)]
        threads = [
            threading.Thread(target=post, args=(service.port, sent.path, headers, share)) for share in shares
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"seconds": time.perf_counter() - began, "cpu_s": service.cpu_s() - cpu}


def post(port: int, path: str, headers: dict[str, str], bodies: list[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for body in bodies:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        content = response.read()
        assert response.status in (200, 202), content
    connection.close()


def compare(requests: int = 400, rows: int = 100, connections: int = 4) -> dict[str, dict[str, float]]:
    """rows_per_s and cpu_us_per_row of each kind of request."""
    as_json, as_protobuf = {"Content-Type": "application/json"}, {"Content-Type": "application/x-protobuf"}
    segments = segment_bodies(requests, rows)
    logs = otlp_bodies(requests, rows)
    kinds = (
        Sent("native events", "/v1/events", as_json, [segment_rows(body) for body in segments]),
        Sent("segment", "/v1/batch", as_json, segments),
        Sent("segment without ids", "/v1/batch", as_json, segment_bodies(requests, rows, "messageNo")),
        Sent("native logs", "/v1/logs", as_json, [otlp_rows(body) for body in logs]),
        Sent("otlp protobuf", "/v1/logs", as_protobuf, logs),
    )
    sent_rows = (requests - 1) * rows
    found = {}
    for sent in kinds:
        taken = measure(sent, connections)
        found[sent.name] = {
            "bytes_per_row": len(sent.bodies[0]) / rows,
            "rows_per_s": sent_rows / taken["seconds"],
            "cpu_us_per_row": 1e6 * taken["cpu_s"] / sent_rows,
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = compare(options.requests, options.rows, options.connections)
    if options.json:
        print(json.dumps(results))
        return
    for name, result in results.items():
        line = "{bytes_per_row:6.0f} B/row {rows_per_s:9,.0f} rows/s {cpu_us_per_row:6.2f} CPU us/row"
        print(f"{name:20} {line.format(**result)}")


if __name__ == "__main__":
    main()
