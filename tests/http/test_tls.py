"""TLS as an operator has it: on both lanes, with certificates that are replaced while it serves."""

import contextlib
import json
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import Authority
from tests.support.payloads import event
from tests.support.service import KEYS, NewService, Service

BACKENDS = ["directory", "workers"]
SECONDS = 15.0


class TlsService:
    """A service and its certificates. calls: an HTTP client that trusts them."""

    def __init__(self, service: Service, directory: Path, *, mutual: bool) -> None:
        self.service = service
        self.authority = Authority(directory, "authority")
        self.client_authority = Authority(directory, "clients")
        self.certificate, self.key = directory / "tls.crt", directory / "tls.key"
        self.client_ca = directory / "client-ca.crt"
        self.install("first")
        self.trust(self.client_authority)
        server = {"tls_certificate": str(self.certificate), "tls_key": str(self.key)}
        if mutual:
            server["tls_client_ca"] = str(self.client_ca)
        service.base_url = f"https://localhost:{service.port}"
        own = self.client_authority.issue("operator") if mutual else None
        context = self.context(own)
        service.http.close()
        service.http = httpx.Client(base_url=service.base_url, timeout=30, verify=context)
        service.configure({"server": server})

    def install(self, name: str) -> None:
        """Puts a new certificate in the place of the old one."""
        certificate, key = self.authority.issue(name)
        for new, place in ((key, self.key), (certificate, self.certificate)):
            os.replace(new, place)

    def trust(self, authority: Authority) -> None:
        fresh = self.client_ca.with_suffix(".new")
        fresh.write_bytes(authority.certificate.read_bytes())
        os.replace(fresh, self.client_ca)

    def context(self, own: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        if own is not None:
            context.load_cert_chain(*own)
        return context

    def connect(self, own: tuple[Path, Path] | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.service.port), timeout=20)
        return self.context(own).wrap_socket(plain, server_hostname="localhost")

    def names(self) -> set[str]:
        """The names in the certificates of 16 new connections, enough for each process to answer one."""
        return {self._name() for _ in range(16)}

    def _name(self) -> str:
        with self.connect() as connection:
            shown = connection.getpeercert()
        assert shown is not None
        return str(dict(pair for part in shown["subject"] for pair in part)["commonName"])  # type: ignore[misc]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, new_service: NewService) -> Iterator[TlsService]:
    directory = tmp_path_factory.mktemp("tls")
    with new_service(directory) as service:
        with_tls = TlsService(service, directory, mutual=False)
        service.start()
        yield with_tls
        assert service.terminate() == 0, service.stderr
        assert "Traceback" not in service.stderr, service.stderr


def request(call: str, body: bytes, *fields: str) -> bytes:
    head = [f"POST {call} HTTP/1.1", "Host: localhost", f"X-API-Key: {KEYS[1]}", *fields]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def answer(connection: ssl.SSLSocket) -> tuple[int, bytes]:
    """Status and body of one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1]), body


def events(count: int) -> bytes:
    return json.dumps([event(number) for number in range(count)]).encode()


def test_batches_of_every_size_and_both_lanes_on_one_connection(tls: TlsService) -> None:
    sent = 0
    with tls.connect() as connection:
        for count in (1, 100, 5_000, 3):  # below and above a TLS record, and what is received at once
            connection.sendall(request("/v1/events", events(count)))
            status, body = answer(connection)
            assert (status, json.loads(body)["accepted"]) == (202, count)
            sent += count
        # Two at once, and then one that the fast lane hands over.
        connection.sendall(request("/v1/events", events(2)) + request("/v1/events", events(4)))
        for count in (2, 4):
            assert json.loads(answer(connection)[1])["accepted"] == count
        connection.sendall(request("/v1/events?wait=file", events(1)))
        assert json.loads(answer(connection)[1])["published"] is True
        connection.sendall(request("/v1/events", events(2_000)))
        assert json.loads(answer(connection)[1])["accepted"] == 2_000
    tls.service.flush()

    assert tls.service.table("events", 1).num_rows == sent + 2 + 4 + 1 + 2_000


def test_the_fast_lane_carries_it(tls: TlsService) -> None:
    """It refuses a head before its end has come; the other way needs the whole."""
    with tls.connect() as connection:
        connection.sendall(b"POST /v1/events HTTP/1.1\r\n" + b"x: " + b"y" * 40_000)
        assert answer(connection)[0] == 431
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            while connection.recv(65536):
                pass


def test_a_client_that_ends_its_half_or_speaks_no_tls(tls: TlsService) -> None:
    with tls.connect() as connection:
        connection.sendall(request("/v1/events", events(1)))
        assert answer(connection)[0] == 202
        with contextlib.suppress(OSError):
            connection.unwrap()
    with socket.create_connection(("127.0.0.1", tls.service.port), timeout=20) as plain:
        plain.sendall(request("/v1/events", events(1)))
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/1.1 2" not in plain.recv(1024)

    assert tls.service.http.get("/ready").status_code == 200
    assert "eof_received" not in tls.service.stderr


def test_a_new_certificate_counts_and_open_connections_go_on(tls: TlsService) -> None:
    before = tls.names()
    with tls.connect() as open_before:
        open_before.sendall(request("/v1/events", events(1)))
        assert answer(open_before)[0] == 202
        tls.install("second")
        tls.service.wait_until(lambda: tls.names() == {"second"}, SECONDS)
        open_before.sendall(request("/v1/events", events(1)))
        assert answer(open_before)[0] == 202
    assert "second" not in before


def test_a_certificate_that_cannot_be_used_is_said_and_changes_nothing(tls: TlsService) -> None:
    names = tls.names()
    key = tls.key.read_bytes()
    tls.key.write_text("no key")
    wanted = "the certificate was not reloaded, the old one stays in use"
    tls.service.wait_until(lambda: wanted in tls.service.stderr, SECONDS)

    assert tls.names() == names
    tls.key.write_bytes(key)


@pytest.mark.parametrize("backend", ["directory"], scope="module")
def test_clients_show_a_certificate_where_that_is_wanted(tmp_path: Path, new_service: NewService) -> None:
    with new_service(tmp_path) as service:
        tls = TlsService(service, tmp_path, mutual=True)
        stranger = Authority(tmp_path, "strangers")
        known, unknown = tls.client_authority.issue("agent"), stranger.issue("stranger")
        service.start()

        def status(own: tuple[Path, Path] | None) -> int | None:
            """Of a batch; None where there is no connection for this client."""
            try:
                with tls.connect(own) as connection:
                    connection.sendall(request("/v1/events", events(1)))
                    return answer(connection)[0]
            except (ssl.SSLError, ConnectionError, AssertionError):
                return None

        assert [status(known), status(unknown), status(None)] == [202, None, None]
        tls.trust(stranger)
        service.wait_until(lambda: status(unknown) == 202, SECONDS)
        assert status(known) is None
        service.terminate()
