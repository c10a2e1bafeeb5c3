"""A proxy in front of the service: answers 503 a few times, and while nobody listens behind it.

Or it keeps requests waiting then, as a socket does that the service is passed.
"""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES_MAX = 32 << 20
UNAVAILABLE = {"Retry-After": "1", "Access-Control-Allow-Origin": "*"}
WAIT_SECONDS_MAX = 20.0


class UnsteadyProxy(ThreadingHTTPServer):
    """refusals: how many of the next requests are answered 503. taken: requests that the service answered.

    waits: whether requests wait while nobody listens; preflights always do, since a browser asks only once.
    """

    daemon_threads = True

    def __init__(self, port: int, refusals: int, *, waits: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = port
        self.refusals = refusals
        self.waits = waits
        self.taken = 0
        self.lock = threading.Lock()
        self.served = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def refuses(self) -> bool:
        with self.lock:
            self.refusals -= 1
            return self.refusals >= 0

    def wait_until_served(self, requests: int, seconds: float) -> bool:
        with self.served:
            return self.served.wait_for(lambda: self.taken >= requests, seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: UnsteadyProxy

    def do_POST(self) -> None:
        body = self._body()
        if self.command in ("POST", "PUT") and self.server.refuses():
            self._say(503, UNAVAILABLE, b"{}")
            return
        if self.server.waits or self.command == "OPTIONS":
            self._wait_for_service()
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=30)
        try:
            headers = {
                name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"
            }
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            self._say(answer.status, dict(answer.getheaders()), answer.read())
        except OSError:
            self._say(503, UNAVAILABLE, b"{}")
            return
        finally:
            connection.close()
        if self.command in ("POST", "PUT"):
            with self.server.served:
                self.server.taken += 1
                self.server.served.notify_all()

    def _wait_for_service(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while time.monotonic() < deadline:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.server.behind)).close()
                return
            time.sleep(0.02)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(min(int(self.headers.get("Content-Length", 0)), BODY_BYTES_MAX))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    do_PUT = do_GET = do_HEAD = do_OPTIONS = do_POST  # noqa: N815 - names that http.server looks for

    def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def unsteady_proxy(port: int, refusals: int, *, waits: bool = False) -> Iterator[UnsteadyProxy]:
    with UnsteadyProxy(port, refusals, waits=waits) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
