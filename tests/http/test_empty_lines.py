"""Line ends behind a body, which old clients send without counting them, harm no other request."""

import json
import socket
from typing import Final

import pytest

from tests.support.payloads import event, numbers
from tests.support.service import KEYS, Service

BACKENDS = ["directory", "workers"]
CONFIG: Final = {"server": {"request_timeout": "1s", "keep_alive_timeout": "2s"}}
LANES: Final = {"fast": "", "route": "TE: trailers\r\n"}
EXTRA: Final = {
    "CRLF": b"\r\n",
    "LF": b"\n",
    "several": b"\r\n\r\n\r\n",
    "many": b"\r\n" * 2_000,
    "CR": b"\r",
}


def post(number: int, workspace: int, lane: str, coding: str = "length", more: str = "") -> bytes:
    body = json.dumps(event(number)).encode()
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEYS[workspace]}\r\n{LANES[lane]}{more}"
    if coding == "length":
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:]))
    trailer = b"X-Trailer: a\r\n" if coding == "trailer" else b""
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n" + trailer + b"\r\n"


def until_closed(client: socket.socket) -> bytes:
    answers = b""
    while chunk := client.recv(65_536):
        answers += chunk
    return answers


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=20)


@pytest.mark.parametrize("coding", ["length", "chunked", "trailer"])
@pytest.mark.parametrize("extra", EXTRA)
@pytest.mark.parametrize("lane", LANES)
def test_the_next_request_is_read(
    service: Service, workspace: int, lane: str, extra: str, coding: str
) -> None:
    ends = EXTRA[extra]
    with connect(service) as client:
        client.sendall(
            ends + post(1, workspace, lane, coding) + ends + post(2, workspace, lane, coding) + ends
        )
        answers = b""
        while answers.count(b"request_id") < 2:
            chunk = client.recv(65_536)
            assert chunk, answers
            answers += chunk
        client.sendall(ends)
        client.sendall(post(3, workspace, lane, coding, more="Connection: close\r\n") + ends)
        answers += until_closed(client)
    assert answers.count(b"HTTP/1.1 202 ") == answers.count(b"HTTP/1.1 ") == 3, answers
    service.flush(workspace)
    assert sorted(numbers(service.table("events", workspace))) == [1, 2, 3]


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("half_close", [False, True])
def test_they_are_no_request_that_is_waited_for(
    service: Service, workspace: int, lane: str, half_close: bool
) -> None:
    """A 408 that nobody asked for would be taken for the answer to the next request."""
    with connect(service) as client:
        client.sendall(post(1, workspace, lane) + b"\r\n")
        if half_close:
            client.shutdown(socket.SHUT_WR)
        answers = until_closed(client)
    assert answers.startswith(b"HTTP/1.1 202 "), answers
    assert answers.count(b"HTTP/1.1 ") == 1, answers


@pytest.mark.parametrize("sent", [b"\r\n", b"\n", b"\r\n\r\n"])
def test_a_connection_without_a_request_is_closed(service: Service, sent: bytes) -> None:
    with connect(service) as client:
        client.sendall(sent)
        assert until_closed(client) == b""
