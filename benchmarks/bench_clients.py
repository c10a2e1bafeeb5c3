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


def segment_bodies(requests: int, rows: int) -> list[bytes]:
    sent_at = "2026-11-27T10:30:26Z"
    batches = [
        {"batch": [message(number) for number in range(rows)], "sentAt": sent_at} for _ in range(requests)
    ]
    return [json.dumps(batch).encode() for batch in batches]


def message(number: int) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "page_view",
        "anonymousId": str(uuid.UUID(int=number % 50 << 64 | 0x4000_8000_0000_0000_0000)),
        "userId": f"user-{number}",
        "messageId": str(uuid.uuid4()),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    as_json, as_protobuf = {"Content-Type": "application/json"}, {"Content-Type": "application/x-protobuf"}
    segments = segment_bodies(options.requests, options.rows)
    logs = otlp_bodies(options.requests, options.rows)
    kinds = (
        Sent("native events", "/v1/events", as_json, [segment_rows(body) for body in segments]),
        Sent("segment", "/v1/batch", as_json, segments),
        Sent("native logs", "/v1/logs", as_json, [otlp_rows(body) for body in logs]),
        Sent("otlp protobuf", "/v1/logs", as_protobuf, logs),
    )
    rows = (options.requests - 1) * options.rows
    results = []
    for sent in kinds:
        taken = measure(sent, options.connections)
        results.append(
            {
                "sent": sent.name,
                "bytes_a_row": len(sent.bodies[0]) / options.rows,
                "rows_s": rows / taken["seconds"],
                "cpu_us_a_row": 1e6 * taken["cpu_s"] / rows,
            }
        )
    if options.json:
        print(json.dumps(results))
        return
    for result in results:
        line = "{sent:14} {bytes_a_row:6.0f} B/row {rows_s:9,.0f} rows/s {cpu_us_a_row:6.2f} CPU us/row"
        print(line.format(**result))


if __name__ == "__main__":
    main()
