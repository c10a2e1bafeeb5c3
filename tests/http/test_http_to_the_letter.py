"""Requests that are not HTTP, or more of it than is read: each is answered, in JSON, and at once."""

import json
import socket
import time
from typing import Final

import pytest

from tests.support.service import KEYS, Service

BACKENDS = ["directory", "workers"]
CONFIG: Final = {"server": {"request_timeout": "20s"}}
KEY: Final = f"X-API-Key: {KEYS[1]}\r\n".encode()
POST: Final = b"POST /v1/events HTTP/1.1\r\n"
CODING: Final = POST + b"Host: x\r\n" + KEY + b"Transfer-Encoding: "

REQUESTS: Final = {
    "no host": (400, b"GET /health HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET /health HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    "no host at an ingest call": (400, POST + KEY + b"Content-Length: 2\r\n\r\n{}"),
    "two hosts at an ingest call": (
        400, POST + b"Host: a\r\nHost: b\r\n" + KEY + b"Content-Length: 2\r\n\r\n{}"
    ),
    "gzip as a transfer coding": (501, CODING + b"gzip\r\n\r\n"),
    "two transfer codings": (501, CODING + b"gzip, chunked\r\n\r\n0\r\n\r\n"),
    "a transfer coding in HTTP/1.0": (
        400, b"POST /v1/events HTTP/1.0\r\nHost: x\r\n" + KEY + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "HTTP/2.0": (505, b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n"),
    "a long URL": (414, b"GET /health?" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a long URL of an ingest call": (
        414, b"POST /v1/events?" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    ),
    "many headers": (431, b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n"),
    "an escaped slash": (404, b"GET /v1%2fevents HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    "bare line feeds": (400, b"GET /health HTTP/1.1\nHost: x\n\n"),
    "bare line feeds at an ingest call": (400, b"POST /v1/events HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}"),
    "nothing of HTTP": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "endless chunk extensions": (
        400, CODING + b"chunked\r\n\r\n1;" + b"a" * 200_000
    ),
    "endless trailers": (
        431, CODING + b"chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 9_000
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_not_carried_out_is_answered_at_once(service: Service, name: str) -> None:
    status, request = REQUESTS[name]
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(request)
        answer = b""
        while chunk := client.recv(65_536):
            answer += chunk
    assert time.monotonic() - began < 8
    first, _, rest = answer.partition(b"\r\n")
    assert first.split()[1] == str(status).encode(), answer[:300]
    problem = json.loads(rest.partition(b"\r\n\r\n")[2])
    assert problem["code"] == problem["error"]
    assert problem["request_id"]
    assert answer.endswith(b"}\n")
