"""Clients that stop in the middle of a request: nothing of it is stored, nobody else waits."""

import json
import socket
from contextlib import ExitStack

import pytest

from tests.support.payloads import event, numbers
from tests.support.service import FLATBUFFER, KEYS, Service

HEAD = "POST /v1/{call} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: {type}\r\n{framing}\r\n\r\n"
HALVES = 200


def head(workspace: int, call: str, framing: str) -> bytes:
    content_type = FLATBUFFER if call == "ingest" else "application/json"
    return HEAD.format(call=call, key=KEYS[workspace], type=content_type, framing=framing).encode()


@pytest.mark.parametrize("framing", ["Content-Length: {length}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("call", ["events", "ingest"])
def test_a_body_that_is_cut_off_is_not_stored(
    service: Service, workspace: int, call: str, framing: str
) -> None:
    body = json.dumps([event(number) for number in range(100)]).encode()
    for cut in (0, 1, len(body) // 2, len(body) - 1):
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            if framing.startswith("Content"):
                client.sendall(head(workspace, call, framing.format(length=len(body))) + body[:cut])
            else:
                client.sendall(head(workspace, call, framing) + f"{len(body):x}\r\n".encode() + body[:cut])

    service.post_json("events", [event(777)], workspace=workspace)
    service.flush(workspace)
    assert numbers(service.table("events", workspace)) == [777]


def test_many_slow_clients_do_not_keep_others_from_being_answered(service: Service, workspace: int) -> None:
    clients = []
    try:
        for number in range(HALVES):
            client = socket.create_connection(("127.0.0.1", service.port))
            clients.append(client)
            client.sendall(head(workspace, "events", "Content-Length: 100000")[: 30 + number] + b"")
        for client in clients[: HALVES // 2]:
            client.sendall(b"x")

        assert service.post_json("events", [event(1)], wait="file", workspace=workspace) == 1
    finally:
        for client in clients:
            client.close()
    assert numbers(service.table("events", workspace)) == [1]


def test_a_body_that_comes_byte_by_byte_is_put_together(service: Service, workspace: int) -> None:
    body = json.dumps(event(5)).encode()
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head(workspace, "events", f"Content-Length: {len(body)}\r\nConnection: close") + body:
            client.sendall(bytes([byte]))
        answer = b""
        while chunk := client.recv(65_536):
            answer += chunk

    assert b" 202 " in answer.split(b"\r\n")[0]
    service.flush(workspace)
    assert numbers(service.table("events", workspace)) == [5]


def test_pipelined_requests_are_each_answered_in_order(service: Service, workspace: int) -> None:
    requests = b""
    for number in range(20):
        body = json.dumps([event(number)] * (number + 1)).encode()
        last = "\r\nConnection: close" if number == 19 else ""
        requests += head(workspace, "events", f"Content-Length: {len(body)}{last}") + body
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(requests)
        answers = b""
        while chunk := client.recv(65_536):
            answers += chunk

    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in answers.split(b"HTTP/1.1 202")[1:]]
    assert [json.loads(body[: body.rindex(b"}") + 1])["accepted"] for body in bodies] == list(range(1, 21))


def test_a_client_that_leaves_before_its_answer_does_no_harm(service: Service, workspace: int) -> None:
    body = json.dumps([event(number) for number in range(1000)]).encode()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(head(workspace, "events", f"Content-Length: {len(body)}") + body)

    service.flush(workspace)
    service.post_json("events", [event(5000)], wait="file", workspace=workspace)
    stored = numbers(service.table("events", workspace))
    assert 5000 in stored
    assert len(stored) % 1000 == 1, "each batch is there whole or not at all"


def test_expect_100_continue_is_answered(service: Service, workspace: int) -> None:
    body = json.dumps(event(1)).encode()
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(head(workspace, "events", f"Content-Length: {len(body)}\r\nExpect: 100-continue"))
        assert client.recv(65_536).startswith(b"HTTP/1.1 100")
        client.sendall(body)
        assert b" 202 " in client.recv(65_536).split(b"\r\n")[0]


@pytest.mark.parametrize("length", ["Content-Length: 10000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events?wait=file", "/v1/batch"])
def test_what_is_only_announced_takes_no_room_from_anybody(
    service: Service, workspace: int, length: str, path: str
) -> None:
    """20 connections that say they send 10 MB each, and send a byte: more than may be in flight."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEYS[workspace]}\r\n{length}\r\n\r\n"
    first = " " if "Length" in length else "1\r\n \r\n"
    with ExitStack() as stack:
        for _ in range(20):
            address = ("127.0.0.1", service.port)
            slow = stack.enter_context(socket.create_connection(address, 10))
            slow.sendall((head + first).encode())
        service.wait_until(lambda: service.metrics()["parquet_sink_inflight_bytes"] >= 20, 10)
        for number in (workspace, workspace + 1):
            assert service.post("events", json.dumps([event(0)]), workspace=number).status_code == 202
    service.wait_until(lambda: service.metrics()["parquet_sink_inflight_bytes"] == 0, 10)
