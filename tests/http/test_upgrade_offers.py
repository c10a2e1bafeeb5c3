"""A request that offers another protocol beside HTTP/1.1 is read as it stands.

java.net.http.HttpClient does so with every request it sends over plain HTTP, unless it is told not to.
"""

import gzip
import json
import socket
from collections.abc import Iterator

import pytest

from tests.support.payloads import event, numbers
from tests.support.service import KEYS, Service

OFFER = (
    "Connection: Upgrade, HTTP2-Settings\r\n"
    "Upgrade: h2c\r\n"
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
)


def request(body: bytes, more: str = "", workspace: int = 1) -> bytes:
    head = (
        f"POST /v1/events HTTP/1.1\r\n{OFFER}Content-Length: {len(body)}\r\nHost: localhost\r\n"
        f"Authorization: Bearer {KEYS[workspace]}\r\nContent-Type: application/json\r\n{more}\r\n"
    )
    return head.encode() + body


def statuses(service: Service, *pieces: bytes) -> Iterator[int]:
    """Of the answers to what is sent over one connection, until one comes for each request or it ends."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
            answer = connection.recv(65_536)
            yield int(answer.split(b" ")[1]) if answer else 0


def body_of(number: int) -> bytes:
    return json.dumps(event(number)).encode()


def test_an_offer_to_upgrade_is_passed_over(service: Service, workspace: int) -> None:
    sent = [request(body_of(number), workspace=workspace) for number in range(3)]
    assert list(statuses(service, *sent)) == [202, 202, 202], "one connection serves them all"
    service.flush()
    assert numbers(service.table("events", workspace)) == [0, 1, 2]


@pytest.mark.parametrize("more", ["Content-Encoding: gzip\r\n", "content-encoding: GZIP\r\nTE: trailers\r\n"])
def test_so_it_is_where_the_full_parser_reads_the_request(
    service: Service, workspace: int, more: str
) -> None:
    for number in range(2):
        packed = gzip.compress(body_of(number))
        assert list(statuses(service, request(packed, more, workspace))) == [202]
    service.flush()
    assert numbers(service.table("events", workspace)) == [0, 1]


def test_an_offer_does_not_make_bytes_behind_the_body_a_part_of_it(service: Service, workspace: int) -> None:
    packed = gzip.compress(body_of(1))
    two = request(packed, "Content-Encoding: gzip\r\n", workspace) * 2
    assert list(statuses(service, two)) == [202]
    service.flush()
    assert numbers(service.table("events", workspace)) == [1], "the connection ends with the first answer"
