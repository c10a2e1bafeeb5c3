"""Bodies over real sockets: limits, deadline, chunks, clients that go away, content encodings."""

import asyncio
import contextlib
import gzip
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Route

from app.api.body import (
    DECOMPRESS_INLINE_BYTES_MAX,
    UNPACKED_INLINE_BYTES_MAX,
    ClientDisconnected,
    read_body,
    unpack_body,
)
from app.api.charge import Charge
from app.api.error_responses import RequestIds, install_error_responses, json_answer, send_answer
from app.commit.admission import Admission, AdmissionPolicy, Levels
from app.errors import BodyTooLarge, MalformedBatch
from tests.api.serving import serving

MAX_BYTES = 100_000
DEADLINE_S = 0.3


def charge() -> Charge:
    """Of a service that has room for everything."""
    found = Charge(Admission(AdmissionPolicy(), lambda: Levels(0, 1 << 40, 1 << 40), lambda code: None), 1, 0)
    found.begin()
    return found


class Echo:
    """Answers with the length of the body; remembers what became of each request."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        try:
            body = await read_body(receive, scope["headers"], MAX_BYTES, DEADLINE_S, charge())
        except Exception as error:
            self.outcomes.append(type(error).__name__)
            raise
        self.outcomes.append("read")
        await send_answer(send, json_answer(200, {"length": len(body), "last": body[-1:].decode()}, "id"))


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def client(echo: Echo) -> Iterator[httpx.Client]:
    app = FastAPI()
    install_error_responses(app, RequestIds())
    app.router.routes.append(Route("/", echo, methods=["POST"]))
    with serving(app) as client:
        yield client


@pytest.mark.parametrize("size", [0, 1, 70_000, MAX_BYTES])
def test_a_body_up_to_the_limit_is_read_whole(client, size):
    body = b"a" * (size - 1) + b"z" if size else b""
    assert client.post("/", content=body).json() == {"length": size, "last": "z" if size else ""}
    assert client.post("/", content=iter([body[:10], body[10:]])).json()["length"] == size


def test_a_body_of_many_tiny_chunks_is_read_whole(client):
    chunks = (b"%d" % (i % 10) for i in range(2005))
    assert client.post("/", content=chunks).json() == {"length": 2005, "last": "4"}


def test_a_content_length_above_the_limit_is_refused_before_the_body_comes(client):
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MAX_BYTES + 1}\r\n\r\n"
    answer = exchange(client, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"error":"too_large"' in answer


def test_a_chunked_body_is_refused_as_soon_as_it_grows_too_large(client):
    response = client.post("/", content=iter([b"x" * 50_000] * 4))
    assert response.status_code == 413
    assert str(MAX_BYTES) in response.json()["message"]


def test_a_body_that_does_not_come_is_timed_out_and_the_connection_closed(client):
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc"
    answer = exchange(client, head, to_the_end=True)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


def test_a_client_that_goes_away_is_not_answered_and_not_an_error(client, echo, caplog):
    before = len(echo.outcomes)
    with connect(client) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
    # A later request on another connection is served, so the first has been seen by then or times out.
    while len(echo.outcomes) == before:
        client.get("/")
    assert echo.outcomes[before:] == ["ClientDisconnected"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_content_length_that_is_no_number_is_malformed():
    with pytest.raises(MalformedBatch):
        read(b"", [(b"content-length", b"ten")])
    with pytest.raises(BodyTooLarge):
        read(b"", [(b"content-length", b"9" * 5000)])


def test_one_chunk_is_not_copied():
    body = bytes(1000)
    assert read(body, []) is body


def test_a_disconnect_is_told_apart_from_an_empty_body():
    async def gone() -> dict:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnected):
        asyncio.run(read_body(gone, [], 10, 1.0, charge()))


@pytest.mark.parametrize("size", [10, 20 * DECOMPRESS_INLINE_BYTES_MAX])
def test_a_gzip_body_is_unpacked_inline_or_in_a_thread(size):
    plain = random.Random(size).randbytes(size)
    packed = gzip.compress(plain)
    assert (len(packed) > DECOMPRESS_INLINE_BYTES_MAX) == (size > 10)
    assert asyncio.run(unpack_body(packed, b" GZIP ", 10 * size)) == plain
    with pytest.raises(BodyTooLarge):
        asyncio.run(unpack_body(packed, b"gzip", size - 1))


@pytest.mark.parametrize(("size", "threads"), [(UNPACKED_INLINE_BYTES_MAX, 0), (1_000_000, 1)])
def test_a_little_body_that_grows_large_is_unpacked_in_a_thread(size, threads):
    packed = gzip.compress(bytes(size))
    assert len(packed) <= DECOMPRESS_INLINE_BYTES_MAX

    async def unpack(executor: ThreadPoolExecutor) -> bytes:
        asyncio.get_running_loop().set_default_executor(executor)
        return await unpack_body(packed, b"gzip", 1_000_000)

    used: list[int] = []
    with ThreadPoolExecutor(initializer=lambda: used.append(1)) as executor:
        assert asyncio.run(unpack(executor)) == bytes(size)
    assert len(used) == threads


@pytest.mark.parametrize("encoding", [None, b"", b"identity"])
def test_a_body_without_an_encoding_stays_as_it_is(encoding):
    body = b"as it came"
    assert asyncio.run(unpack_body(body, encoding, 5)) is body


def read(body: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    async def receive() -> dict:
        return {"type": "http.request", "body": body, "more_body": False}

    return asyncio.run(read_body(receive, headers, 10_000, 1.0, charge()))


@contextlib.contextmanager
def connect(client: httpx.Client) -> Iterator[socket.socket]:
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        yield connection


def exchange(client: httpx.Client, request: bytes, *, to_the_end: bool = False) -> bytes:
    """Send bytes; return the answer, or all until the server closes the connection."""
    answer = b""
    with connect(client) as connection:
        connection.sendall(request)
        while to_the_end or b"}" not in answer:
            received = connection.recv(65536)
            if not received:
                break
            answer += received
    return answer
