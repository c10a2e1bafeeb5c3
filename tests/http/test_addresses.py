"""What one client address may take: connections, and wrong keys."""

import json
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.payloads import event
from tests.support.service import KEYS, Service

BACKENDS = ["directory", "workers"]
CONNECTIONS = 5
CONFIG = {"server": {"max_connections_per_address": CONNECTIONS}}
CLUMSY, OTHER = "127.0.0.2", "127.0.0.3"
SECONDS = 20.0


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def connect(service: Service, address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS, source_address=(address, 0))


def batch(key: str) -> bytes:
    body = json.dumps([event(1)]).encode()
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def status(connection: socket.socket, request: bytes) -> int:
    """0 where the connection is closed without an answer."""
    connection.sendall(request)
    try:
        answer = connection.recv(65536)
    except ConnectionResetError:
        return 0
    return int(answer.split()[1]) if answer else 0


@pytest.mark.parametrize("backend", ["directory"], scope="module")
def test_an_address_has_its_connections_and_no_more(service: Service, stack: ExitStack) -> None:
    held = [stack.enter_context(connect(service, CLUMSY)) for _ in range(CONNECTIONS)]
    assert [status(each, batch(KEYS[1])) for each in held] == [202] * CONNECTIONS

    one_more = stack.enter_context(connect(service, CLUMSY))
    assert status(one_more, batch(KEYS[1])) == 503
    watching = stack.enter_context(connect(service, CLUMSY))
    assert status(watching, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") == 200, "for whoever watches"
    with connect(service, OTHER) as other:
        assert status(other, batch(KEYS[2])) == 202, "another address has its own"

    for each in (*held, one_more, watching):
        each.close()

    def taken_again() -> bool:
        with connect(service, CLUMSY) as connection:
            return status(connection, batch(KEYS[1])) == 202

    service.wait_until(taken_again, SECONDS)


@pytest.mark.parametrize("backend", ["directory"], scope="module")
def test_connections_that_another_protocol_has_taken_over_count_too(
    service: Service, stack: ExitStack
) -> None:
    listing = b"GET /files HTTP/1.1\r\nHost: x\r\nX-API-Key: %b\r\n\r\n" % KEYS[1].encode()
    held = [stack.enter_context(connect(service, OTHER)) for _ in range(CONNECTIONS)]
    assert [status(each, listing) for each in held] == [200] * CONNECTIONS
    assert status(stack.enter_context(connect(service, OTHER)), batch(KEYS[1])) == 503
    for each in held:
        each.close()

    def taken_again() -> bool:
        with connect(service, OTHER) as connection:
            return status(connection, batch(KEYS[1])) == 202

    service.wait_until(taken_again, SECONDS)


WRONG = "ff" * 16
TRIES = {
    "native": (401, batch(WRONG)),
    "an answer of Splunk's": (
        403,
        f"POST /services/collector HTTP/1.1\r\nHost: x\r\nAuthorization: Splunk {WRONG}\r\n"
        "Content-Length: 14\r\n\r\n".encode()
        + b'{"event": "x"}',
    ),
    "an answer of Amplitude's": (
        400,
        b"POST /2/httpapi HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 84\r\n\r\n"
        + f'{{"api_key": "{WRONG}", "events": [{{"event_type": "a"}}]}}'.encode().ljust(84),
    ),
    "a call that workers forward": (
        401,
        f"GET /files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {WRONG}\r\n\r\n".encode(),
    ),
}


def test_whoever_tries_keys_waits_and_nobody_else_does(own_service: Service, stack: ExitStack) -> None:
    """By all calls at once, each from an address of its own. Each process counts by itself."""
    own_service.configure(
        {"server": {"max_connections_per_address": 1_000}, "auth": {"wrong_key_delay_max": "5s"}}
    )
    own_service.restart()
    clumsy = {name: f"127.0.1.{number}" for number, name in enumerate(TRIES, 1)}
    waiting = stack.enter_context(selectors.DefaultSelector())
    for name, (_, wrong) in TRIES.items():
        for _ in range(100):
            each = stack.enter_context(connect(own_service, clumsy[name]))
            each.sendall(wrong)
            waiting.register(each, selectors.EVENT_READ, name)
    for name, (refused, wrong) in TRIES.items():
        with connect(own_service, clumsy[name]) as right:
            assert status(right, batch(KEYS[1])) == 202, "a right key of the same address"
        with connect(own_service, OTHER) as elsewhere:
            assert status(elsewhere, wrong) == refused, "the first wrong keys of another address"
    answered = {id(key) for key, _ in waiting.select(timeout=0)}
    late = {key.data for key in waiting.get_map().values() if id(key) not in answered}
    assert late == set(TRIES), "the later ones are held back"
    deadline = time.monotonic() + SECONDS
    while waiting.get_map() and time.monotonic() < deadline:
        for key, _ in waiting.select(timeout=1):
            assert isinstance(key.fileobj, socket.socket)
            assert key.fileobj.recv(65536).startswith(b"HTTP/1.1 %d " % TRIES[key.data][0])
            waiting.unregister(key.fileobj)
    assert not waiting.get_map(), "and all are answered in the end"


def test_a_host_of_ipv6_waits_whichever_of_its_addresses_it_uses(
    own_service: Service, stack: ExitStack
) -> None:
    own_service.configure(
        {
            "server": {"max_connections_per_address": 1_000, "trusted_proxies": ["127.0.0.0/8"]},
            "auth": {"wrong_key_delay_max": "5s"},
        }
    )
    own_service.restart()

    def wrong(address: str) -> bytes:
        return batch(WRONG).replace(b"Host: x", f"Host: x\r\nX-Forwarded-For: {address}".encode())

    for number in range(100):
        each = stack.enter_context(connect(own_service, CLUMSY))
        each.sendall(wrong(f"2001:db8::{number:x}"))
    with connect(own_service, CLUMSY) as elsewhere:
        assert status(elsewhere, wrong("2001:db8:0:1::1")) == 401
    with selectors.DefaultSelector() as waiting:
        waiting.register(each, selectors.EVENT_READ)
        assert not waiting.select(timeout=0), "the last ones of the /64 are held back"


@pytest.mark.parametrize("backend", ["workers"], scope="module")
def test_calls_that_workers_forward_are_not_counted_as_those_of_one_address(
    own_service: Service, stack: ExitStack
) -> None:
    """Each /tail keeps its connection, and so its forwarded one."""
    own_service.configure({"server": {"max_connections_per_address": 2}})
    own_service.restart()
    tail = f"GET /tail HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEYS[1]}\r\n\r\n".encode()
    watching = [stack.enter_context(connect(own_service, f"127.0.3.{each}")) for each in range(1, 6)]
    assert [status(each, tail) for each in watching] == [200] * len(watching)
