"""Stands between the service and an object store, and does to requests what networks and stores do.

One request a connection, so that each is dealt with alone. What happens to it is asked of `choose`, which
gets the method and the path; every fault that was carried out is counted.
"""

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final, Self

HEAD_BYTES_MAX: Final = 64 << 10
READ_BYTES: Final = 256 << 10
BACKLOG: Final = 64


class Fault(Enum):
    """What becomes of a request.

    RESET: the connection breaks before anything of it was passed on. CUT: it breaks when half of the body was
    passed on. ERROR_500, SLOW_DOWN: answered by the store's front, not carried out. STALL: never answered and
    not carried out; the client must give up. LOST_ANSWER: carried out, and the connection breaks instead of
    an answer. LATE: carried out after the client has given up.
    """

    RESET = "reset"
    CUT = "cut"
    ERROR_500 = "500"
    SLOW_DOWN = "503"
    STALL = "stall"
    LOST_ANSWER = "lost answer"
    LATE = "late"


AT_ONCE: Final = tuple(fault for fault in Fault if fault not in (Fault.STALL, Fault.LATE))
"""Those that do not take as long as the client's patience."""

Choose = Callable[[str, str], Fault | None]


def no_fault(method: str, path: str) -> None:
    """Everything passes."""


class FaultProxy:
    """Listens on a port of its own in front of `upstream_port`. A context manager that leaves no thread.

    requests: those that arrived, by method. fired: the faults that were carried out.
    """

    def __init__(self, upstream_port: int) -> None:
        self._upstream = ("127.0.0.1", upstream_port)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.choose: Choose = no_fault
        self.requests: Counter[str] = Counter()
        self.fired: Counter[Fault] = Counter()

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        for thread in self._threads:
            thread.join(30)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listens, on the port it had before if it had one."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=BACKLOG)
        self.port = self._listener.getsockname()[1]
        self._begin(self._accept, self._listener)

    def down(self) -> None:
        """Breaks every connection; new ones are refused until `up`."""
        with self._lock:
            listener, self._listener = self._listener, None
            sockets = list(self._sockets)
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _begin(self, target: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(connection,), daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._begin(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, self._known(client), contextlib.suppress(OSError):
            head, body = _read_head(client)
            if not head:
                return
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
            fault = self.choose(method, path)
            with self._lock:
                self.requests[method] += 1
                self.fired.update([fault] if fault else [])
            self._carry(client, head, body, fault)

    def _carry(self, client: socket.socket, head: bytes, begun: bytes, fault: Fault | None) -> None:
        length = _content_length(head)
        if fault is Fault.RESET:
            return _reset(client)
        if b"\r\nexpect: 100-continue" in head.lower():
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fault is Fault.CUT:
            body = _read_body(client, begun, length // 2)
            with self._upstream_with(head, body[: length // 2]) as upstream:
                _reset(upstream)
            return _reset(client)
        body = _read_body(client, begun, length)
        if fault is Fault.ERROR_500:
            return client.sendall(_error(500, "InternalError"))
        if fault is Fault.SLOW_DOWN:
            return client.sendall(_error(503, "SlowDown"))
        if fault in (Fault.STALL, Fault.LATE):
            while client.recv(READ_BYTES):  # until the client gives up
                pass
        if fault is Fault.STALL:
            return None
        with self._upstream_with(head, body) as upstream:
            while answer := upstream.recv(READ_BYTES):
                if fault is None:
                    client.sendall(answer)
        return None if fault is None else _reset(client)

    @contextlib.contextmanager
    def _upstream_with(self, head: bytes, body: bytes) -> Iterator[socket.socket]:
        with socket.create_connection(self._upstream) as upstream, self._known(upstream):
            upstream.sendall(_closing(head) + body)
            yield upstream

    @contextlib.contextmanager
    def _known(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._sockets.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._sockets.discard(connection)


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """The request's head with its empty line, and what came of the body with it; empty for no request."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(READ_BYTES)
        if not chunk or len(data) > HEAD_BYTES_MAX:
            return b"", b""
        data += chunk
    head, separator, body = data.partition(b"\r\n\r\n")
    return head + separator, body


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def _read_body(client: socket.socket, begun: bytes, length: int) -> bytes:
    chunks = [begun]
    missing = length - len(begun)
    while missing > 0:
        chunk = client.recv(min(READ_BYTES, missing))
        if not chunk:
            raise ConnectionError("the client went away in the middle of a body")
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def _closing(head: bytes) -> bytes:
    """The same request, with the wish that the connection end with its answer."""
    lines = [
        line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"expect:"))
    ]
    return b"\r\n".join([lines[0], b"Connection: close", *lines[1:]])


def _error(status: int, code: str) -> bytes:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'.encode()
    return (
        f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode() + body


def _reset(connection: socket.socket) -> None:
    """Ends the connection with a reset instead of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
