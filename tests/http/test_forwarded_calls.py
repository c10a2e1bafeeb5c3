"""A worker that forwards a call says itself what cannot be forwarded."""

import socket

import httpx

from tests.support.service import Service

BACKENDS = ("workers",)


def test_a_body_that_no_such_call_wants_is_refused_as_everywhere(service: Service) -> None:
    answer = service.admin("POST", "/flush", content=b"x" * 100_000)
    assert answer.status_code == 413
    assert answer.json()["error"] == "too_large"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_head_and_range_and_an_unchanged_file_come_through(service: Service) -> None:
    service.post_json(
        "events", [{"type": "track", "event": "a", "device_id": "550e8400e29b41d4a716446655440000"}]
    )
    service.flush()
    (file,) = service.files()
    path = f"/files/{file['path']}"
    whole = service.admin("GET", path)
    head = service.admin("HEAD", path)
    part = service.admin("GET", path, headers={"Range": "bytes=0-3"})
    unchanged = service.admin("GET", path, headers={"If-None-Match": whole.headers["etag"]})

    assert len(whole.content) == file["bytes"]
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(file["bytes"]))
    assert (part.status_code, part.content) == (206, b"PAR1")
    assert (unchanged.status_code, unchanged.content) == (304, b"")


def test_one_connection_carries_calls_of_both_processes(service: Service) -> None:
    with httpx.Client(base_url=service.base_url, limits=httpx.Limits(max_connections=1)) as client:
        assert [client.get("/health").status_code for _ in range(3)] == [200] * 3
        assert client.post("/v1/events", content=b"[]").status_code == 401
        assert client.get("/no-such-call").json()["error"] == "not_found"


def test_a_check_of_http_1_0_without_a_host_is_answered(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as client:
        client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert client.recv(4_096).startswith(b"HTTP/1.1 200 ")
