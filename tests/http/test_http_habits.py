"""Requests as people and programs make them: what is meant is done, on every way in."""

import gzip
import json
import socket
from typing import Final

import httpx
import pyarrow as pa
import pytest

from app.kinds import Kind
from tests.support.flatbuffer_batches import hand_laid
from tests.support.payloads import event, numbers
from tests.support.service import KEYS, Service

BACKENDS = ["directory", "workers"]
CONFIG: Final = {"server": {"max_body_size": "100KB"}}
LANES: Final = {"fast": "", "route": "TE: trailers\r\n"}


def head(call: str, length: int, *lines: str, workspace: int = 1, version: str = "1.1") -> bytes:
    fields = [
        f"POST /v1/{call} HTTP/{version}",
        "Host: x",
        f"X-API-Key: {KEYS[workspace]}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        *lines,
    ]
    return ("\r\n".join(fields) + "\r\n\r\n").encode("latin-1")


def talk(service: Service, request: bytes, *, half_close: bool = False, timeout: float = 10) -> bytes:
    """All that comes back until the service closes."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=timeout) as client:
        client.sendall(request)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := client.recv(65_536):
            answer += chunk
    return answer


def stored(service: Service, workspace: int) -> list[int]:
    service.flush(workspace)
    return sorted(numbers(service.table("events", workspace)))


def test_what_curl_calls_a_form_is_json_where_it_is(service: Service, workspace: int) -> None:
    form = "application/x-www-form-urlencoded"
    sent = service.post("events", json.dumps(event(1)), workspace=workspace, content_type=form)
    assert sent.status_code == 202, sent.text
    refused = service.post("events", "a=1&b=2", workspace=workspace, content_type=form)
    assert refused.status_code == 415
    assert stored(service, workspace) == [1]


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("codec", ["gzip", "zstd"])
@pytest.mark.parametrize("call", ["events", "ingest"])
def test_a_packed_body_is_recognised_without_its_header(
    service: Service, workspace: int, lane: str, codec: str, call: str
) -> None:
    body = json.dumps([event(1), event(2)]).encode()
    if call == "ingest":
        rows = [{"event_type": "track", "event_name": "e", "payload": b'{"number":%d}' % n} for n in (1, 2)]
        body = hand_laid(Kind.EVENTS, rows, bytes.fromhex(KEYS[workspace]))
    packed = gzip.compress(body) if codec == "gzip" else bytes(pa.Codec("zstd").compress(body, asbytes=True))
    headers = {"TE": "trailers"} if lane == "route" else {}
    response = service.post(call, packed, workspace=workspace, headers=headers)
    assert response.status_code == 202, response.text
    assert stored(service, workspace) == [1, 2]


@pytest.mark.parametrize("call", ["events", "logs", "ingest"])
def test_a_slash_behind_the_path_changes_nothing(service: Service, call: str) -> None:
    assert service.post(f"{call}/", b"", content_type="").json()["error"] == "malformed_batch"


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/status", "/files", "/metrics", "/docs", "/openapi.json"]
)
def test_a_get_may_be_a_head_and_may_end_in_a_slash(service: Service, path: str) -> None:
    got = service.admin("GET", path)
    for method, form in (("HEAD", path), ("GET", path + "/"), ("HEAD", path + "/")):
        response = service.admin(method, form)
        assert response.status_code == got.status_code == 200, (method, form, response.text)
        assert response.headers["content-type"] == got.headers["content-type"]
        assert bool(response.content) == (method == "GET")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_probes_of_an_ingest_call_store_nothing(service: Service, workspace: int, method: str) -> None:
    headers = {"X-API-Key": KEYS[workspace], "Content-Type": "application/json"}
    response = service.http.request(method, "/v1/events", content=json.dumps(event(1)), headers=headers)
    assert response.status_code == 200
    assert "POST" in response.headers["allow"]
    assert stored(service, workspace) == []


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/_bulk", "POST"),
        ("/v1/batch", "POST"),
        ("/batch/", "POST"),
        ("/services/collector", "POST"),
        ("/services/collector/health", "GET"),
        ("/v1/projects/any/settings", "GET"),
        ("/flags/", "POST"),
        ("/", "GET"),
    ],
)
def test_options_of_a_clients_path_are_no_call(service: Service, path: str, allowed: str) -> None:
    headers = {"X-API-Key": KEYS[1], "Content-Type": "application/json"}
    for content in (b"", b'{"batch": [{"type": "track", "event": "e", "userId": "u"}]}'):
        response = service.http.request("OPTIONS", path, content=content, headers=headers)
        assert (response.status_code, response.content) == (200, b"")
        assert {allowed, "OPTIONS"} <= set(response.headers["allow"].split(", "))


def test_the_bare_address_leads_to_a_page(service: Service) -> None:
    response = service.http.get("/", follow_redirects=True)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize(
    "query", ["page=caf%C3%A9", "a=%ff%00&=&&", "a=%C3%89&wait=journal", "%FF=%zz", "a=%"]
)
def test_any_bytes_may_stand_in_a_query(service: Service, workspace: int, lane: str, query: str) -> None:
    for key in (f"token={KEYS[workspace]}&", ""):
        body = json.dumps(event(1)).encode()
        lines = "" if key else f"X-API-Key: {KEYS[workspace]}\r\n"
        request = (
            f"POST /v1/events?{key}{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            f"{lines}{LANES[lane]}Connection: close\r\n\r\n"
        )
        assert talk(service, request.encode() + body).startswith(b"HTTP/1.1 202 ")


RAW_QUERIES: Final = (
    "page=café".encode(),
    "page=caf\xe9&a=\xff".encode("latin-1"),
    "日本=語&a=%C3%A9&b='".encode(),
    b"\x80\xfe?/\xc3",
)


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("query", RAW_QUERIES, ids=range(len(RAW_QUERIES)))
def test_a_query_may_hold_raw_bytes(service: Service, workspace: int, lane: str, query: bytes) -> None:
    """curl sends what was typed."""

    def request(number: int, last: bool = False) -> bytes:
        # What is in a body is no request line, and stays as it is.
        body = json.dumps(event(number, text="POST /v1/events?a=é HTTP/1.1\r\n"), ensure_ascii=False)
        line = b"POST /v1/events?%b&token=%b HTTP/1.1\r\n" % (query, KEYS[workspace].encode())
        fields = f"Host: x\r\nContent-Length: {len(body.encode())}\r\n{LANES[lane]}"
        return line + f"{fields}{'Connection: close' if last else 'X-A: é?é'}\r\n\r\n{body}".encode()

    answer = talk(service, request(1) + request(2) + request(3, last=True))
    assert answer.count(b"HTTP/1.1 202 ") == 3, answer
    whole = request(4, last=True)
    line = whole.index(b"\r\n")
    cuts = (*range(1, 6), *range(16, line + 4, 3), len(whole) - 5)
    for cut in cuts:
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(whole[:cut])
            client.sendall(whole[cut:])
            assert client.recv(65_536).startswith(b"HTTP/1.1 202 "), cut
    service.flush(workspace)
    rows = service.table("events", workspace).to_pylist()
    assert len(rows) == 3 + len(cuts)
    assert {json.loads(row["payload"])["text"] for row in rows} == {"POST /v1/events?a=é HTTP/1.1\r\n"}


@pytest.mark.parametrize(
    "line",
    [
        b"GET /caf\xc3\xa9?a=b",
        b"GET /files?a=\xc3 HTTP/1.1\xc3",
        b"G\xc3T /files?a=b",
        b"GET \xc3/files?a=\xc3",
    ],
)
def test_raw_bytes_elsewhere_in_the_line_are_refused(service: Service, line: bytes) -> None:
    line = line if b"HTTP" in line else line + b" HTTP/1.1"
    answer = talk(service, line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 "), answer


@pytest.mark.parametrize("lane", LANES)
def test_a_client_that_closes_its_half_gets_its_answer(service: Service, workspace: int, lane: str) -> None:
    body = json.dumps(event(1)).encode()
    one = head("events", len(body), *LANES[lane].splitlines(), workspace=workspace) + body
    for times in (1, 3):
        answer = talk(service, one * times, half_close=True)
        assert answer.count(b"HTTP/1.1 202 ") == times, answer


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(
    ("status", "lines", "workspace"),
    [(413, (), 1), (415, ("Content-Type: image/png",), 1), (401, ("X-API-Key: 00",), 2)],
)
def test_a_refused_client_reads_why(
    service: Service, version: str, status: int, lines: tuple[str, ...], workspace: int
) -> None:
    size = 3_000_000 if status == 413 else 90_000
    fields = [
        f"POST /v1/events HTTP/{version}", "Host: x", "Connection: close", f"Content-Length: {size}",
        *(lines if status == 401 else [f"X-API-Key: {KEYS[workspace]}", *lines]),
    ]  # fmt: skip
    request = ("\r\n".join(fields) + "\r\n\r\n").encode() + b" " * size
    answer = talk(service, request)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert problem["code"] == problem["error"]


@pytest.mark.parametrize("lane", LANES)
def test_blanks_around_a_header_value_do_not_count(service: Service, workspace: int, lane: str) -> None:
    body = json.dumps(event(1)).encode()
    for value in ("k1", " k1", "\tk1 \t", "k1  "):
        lines = [f"Idempotency-Key:{value}", "Connection: close", *LANES[lane].splitlines()]
        assert b" 202 " in talk(service, head("events", len(body), *lines, workspace=workspace) + body)[:20]
    assert stored(service, workspace) == [1]


def test_one_idempotency_key_for_events_and_logs_are_two_things(service: Service, workspace: int) -> None:
    key = {"Idempotency-Key": "one"}
    assert service.post("events", json.dumps(event(1)), workspace=workspace, headers=key).status_code == 202
    log = service.post("logs", json.dumps({"message": "m"}), workspace=workspace, headers=key)
    assert (log.status_code, log.json().get("duplicate")) == (202, None)


ERRORS: Final = {
    "404": (404, lambda s: s.http.get("/nothing")),
    "405": (405, lambda s: s.http.delete("/v1/events")),
    "401": (401, lambda s: s.http.post("/v1/events", content=b"{}")),
    "400": (400, lambda s: s.post("events", b"")),
    "413": (413, lambda s: s.post("events", b" " * 200_000)),
    "207": (207, lambda s: s.post("events", json.dumps([event(1), {}]))),
    "202": (202, lambda s: s.post("events", json.dumps(event(1)))),
    "status": (200, lambda s: s.admin("GET", "/status")),
    "files": (200, lambda s: s.admin("GET", "/files")),
    "flush": (200, lambda s: s.admin("POST", "/flush")),
}


@pytest.mark.parametrize("name", ERRORS)
def test_answers_end_with_a_newline_and_errors_have_one_form(service: Service, name: str) -> None:
    status, call = ERRORS[name]
    response: httpx.Response = call(service)
    assert response.status_code == status, response.text
    assert response.content.endswith(b"}\n")
    if status >= 400:
        problem = response.json()
        assert problem["code"] == problem["error"]
        assert problem["message"]
        assert problem["request_id"] == response.headers["x-request-id"]
