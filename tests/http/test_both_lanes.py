"""An ingest request is answered the same, byte for byte, on the fast lane and by the ASGI route.

`TE: trailers` asks for nothing that the service sends, and is enough to be handed over to the route.
"""

import gzip
import json
import re
import socket
from pathlib import Path
from typing import Final

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from app.kinds import Kind
from tests.support.flatbuffer_batches import hand_laid
from tests.support.payloads import event, json_lines
from tests.support.service import KEYS, Service, running_service

LANES: Final = {"fast": "", "route": "TE: trailers\r\n"}
CONFIG: Final = {
    "server": {"max_body_size": "64KB", "max_rows_per_request": 200, "request_timeout": "2s"},
    "sinks.parquet": {"flush_interval": "3600s"},
}
DATE: Final = re.compile(rb"date: [^\r]*\r\n")
ELAPSED: Final = re.compile(rb'"took":[0-9]+')


def ask(service: Service, lane: str, call: str, body: bytes, *headers: str, workspace: int = 1) -> bytes:
    """The whole answer, as it came over the socket, without its date. call: below /v1/, or a whole path."""
    lines = [
        f"POST {call if call.startswith('/') else '/v1/' + call} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {KEYS[workspace]}",
        "X-Request-ID: the-same-one",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    head = "\r\n".join(lines) + "\r\n" + LANES[lane] + "\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(head.encode("latin-1") + body)
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < length(answer):
            chunk = client.recv(65_536)
            assert chunk, answer
            answer += chunk
    return DATE.sub(b"", answer)


def length(answer: bytes) -> int:
    found = re.search(rb"content-length: (\d+)", answer)
    assert found or answer.startswith(b"HTTP/1.1 204 "), answer
    return int(found[1]) if found else 0


def event_batch(workspace: int = 1) -> bytes:
    rows = [{"timestamp": 5, "event_type": "track", "event_name": "a", "payload": b'{"n":1}'}]
    return hand_laid(Kind.EVENTS, rows, bytes.fromhex(KEYS[workspace]))


REQUESTS: Final = {
    "202 events": (202, "events", json.dumps([event(1), event(2)]).encode(), ()),
    "202 lines": (202, "events", json_lines([event(1), event(2)]), ("Content-Type: application/x-ndjson",)),
    "202 flatbuffer": (202, "ingest", event_batch(), ()),
    "202 token": (202, "events?token=" + KEYS[1], json.dumps(event(1)).encode(), ()),
    "202 wait": (202, "events?wait=journal", json.dumps(event(1)).encode(), ()),
    "207": (207, "events", json_lines([event(1)]) + b"\n{}\n", ()),
    "400 rows": (400, "events", b"{}", ()),
    "400 body": (400, "ingest", b"\xff" * 64, ()),
    "400 empty": (400, "logs", b"", ()),
    "400 wait": (400, "events?wait=never", b"{}", ()),
    "400 key": (400, "events", b"{}", ("Idempotency-Key: " + "x" * 300,)),
    "401 two keys": (401, "events", b"{}", ("X-API-Key: " + KEYS[2],)),
    "401 no key": (401, "events", b"{}", ("X-API-Key: 12",)),
    "403": (403, "ingest", event_batch(2), ()),
    "413 body": (413, "events", b" " * 70_000, ()),
    "413 rows": (413, "events", json_lines([event(n) for n in range(201)]), ()),
    "415": (415, "events", b"{}", ("Content-Type: image/png",)),
}

TRACK: Final = {"type": "track", "event": "e", "userId": "u", "messageId": "m1", "properties": {"n": 1}}
OTLP: Final = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "hello"}}]}]}]}
PROTOBUF: Final = ParseDict(OTLP, ExportLogsServiceRequest()).SerializeToString()
LOKI: Final = {"streams": [{"stream": {"job": "a"}, "values": [["1790000000000000000", "hello"]]}]}

CLIENT_REQUESTS: Final = {
    "segment": (200, "batch", json.dumps({"batch": [TRACK]}).encode(), ()),
    "segment, one refused": (200, "batch", json.dumps({"batch": [TRACK, 5]}).encode(), ()),
    "segment, all refused": (200, "batch", json.dumps({"batch": [5]}).encode(), ()),
    "segment, gzip": (
        200,
        "batch",
        gzip.compress(json.dumps({"batch": [TRACK]}).encode(), mtime=0),
        ("Content-Encoding: gzip",),
    ),
    "segment, gzip without its header": (
        200,
        "batch",
        gzip.compress(json.dumps({"batch": [TRACK]}).encode(), mtime=0),
        (),
    ),
    "segment, no JSON": (200, "batch", b"{", ()),
    "segment, empty": (200, "batch", b"", ()),
    "segment, too large": (200, "batch", b" " * 70_000, ()),
    "segment, another key in the body": (
        401,
        "batch",
        json.dumps({"batch": [TRACK], "writeKey": KEYS[2]}).encode(),
        (),
    ),
    "otlp protobuf": (200, "logs", PROTOBUF, ("Content-Type: application/x-protobuf",)),
    "otlp protobuf, damaged": (400, "logs", b"\xff" * 9, ("Content-Type: application/x-protobuf",)),
    "otlp json": (200, "logs", json.dumps(OTLP).encode(), ("Content-Type: application/json",)),
    "loki": (204, "/loki/api/v1/push", json.dumps(LOKI).encode(), ("Content-Type: application/json",)),
    "hec": (200, "/services/collector/event", b'{"event":"hello"}', ()),
    "bulk": (200, "/_bulk", b'{"create":{"_id":"1"}}\n{"message":"hello"}\n', ()),
    "unknown key": (401, "batch", b"{}", ("X-Write-Key: " + "00" * 16,)),
}


@pytest.mark.parametrize("name", CLIENT_REQUESTS)
def test_both_lanes_give_clients_the_same_answer(service: Service, name: str) -> None:
    status, call, body, headers = CLIENT_REQUESTS[name]

    answers = [ask(service, lane, call, body, *headers) for lane in (*LANES, "fast")]

    assert int(answers[0].split()[1]) == status, answers[0]
    assert len({ELAPSED.sub(b"", answer) for answer in answers}) == 1, answers


@pytest.mark.parametrize("name", REQUESTS)
def test_both_lanes_give_the_same_answer(service: Service, name: str) -> None:
    status, call, body, headers = REQUESTS[name]

    fast, route = (ask(service, lane, call, body, *headers) for lane in LANES)

    assert int(fast.split()[1]) == status, fast
    assert fast == route


@pytest.mark.parametrize("first", LANES)
def test_a_batch_sent_again_is_a_duplicate_whichever_way_it_came(service: Service, first: str) -> None:
    body, key = json.dumps([event(1)]).encode(), f"Idempotency-Key: {first}"

    taken = ask(service, first, "events", body, key)
    again = {lane: ask(service, lane, "events", body, key) for lane in LANES}
    other = {lane: ask(service, lane, "events", body + b" ", key) for lane in LANES}

    assert b'"duplicate"' not in taken
    assert again["fast"] == again["route"]
    assert b'"duplicate":true' in again["fast"]
    assert other["fast"] == other["route"]
    assert other["fast"].startswith(b"HTTP/1.1 409 ")


@pytest.mark.parametrize("lane", LANES)
def test_rows_are_the_same_in_the_files(tmp_path: Path, lane: str) -> None:
    with running_service(tmp_path, CONFIG) as service:
        assert ask(service, lane, "events", json_lines([event(n) for n in range(50)])).split()[1] == b"202"
        assert ask(service, lane, "ingest", event_batch()).split()[1] == b"202"
        service.flush()
        table = service.table("events")

    assert table.num_rows == 51
    assert set(table["source_ip"].to_pylist()) == {bytes(10) + b"\xff\xff\x7f\x00\x00\x01"}


def test_the_http_metrics_count_both(own_service: Service) -> None:
    name = 'http_requests_total{handler="/v1/events",method="POST",status="2xx"}'
    body = json.dumps(event(1)).encode()
    for count, lane in enumerate(LANES, 1):
        ask(own_service, lane, "events", body)
        samples = own_service.metrics()
        assert samples[name] == count
        assert samples['http_request_size_bytes_sum{handler="/v1/events"}'] == count * len(body)
        assert samples['http_request_duration_seconds_count{handler="/v1/events",method="POST"}'] == count
