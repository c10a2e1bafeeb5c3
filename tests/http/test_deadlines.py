"""A client that stops within a body is given up after `server.request_timeout`."""

import socket

import pytest

from tests.support.payloads import event
from tests.support.service import KEYS, Service

CONFIG = {"server": {"request_timeout": "500ms"}}
PATIENCE_SECONDS = 30

HEAD = f"POST /v1/CALL HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEYS[1]}\r\nContent-Type: TYPE\r\n".encode()

STOPPED_AT = {
    "before the body": HEAD + b"Content-Length: 100\r\n\r\n",
    "in the body": HEAD + b"Content-Length: 100\r\n\r\n[{",
    "in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[",
}


@pytest.mark.parametrize("call", ["events", "ingest"])
@pytest.mark.parametrize("where", STOPPED_AT)
def test_the_connection_is_ended(service: Service, where: str, call: str) -> None:
    content_type = b"application/x-flatbuffers" if call == "ingest" else b"application/json"
    request = STOPPED_AT[where].replace(b"CALL", call.encode()).replace(b"TYPE", content_type)
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(request)
        answer = b""
        while chunk := client.recv(65_536):
            answer += chunk

    assert answer == b"" or answer.startswith(b"HTTP/1.1 408"), answer[:200]
    assert service.post_json("events", [event(1)]) == 1
