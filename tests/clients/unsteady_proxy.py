"""A proxy in front of the service: answers 503 a few times, and while nobody listens behind it."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES_MAX = 32 << 20


class UnsteadyProxy(ThreadingHTTPServer):
    """refusals: how many of the next requests are answered 503. taken: requests that the service answered."""

    daemon_threads = True

    def __init__(self, port: int, refusals: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = port
        self.refusals = refusals
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
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), BODY_BYTES_MAX))
        if self.command != "GET" and self.server.refuses():
            self._say(503, {"Retry-After": "1"}, b"{}")
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            self._say(answer.status, dict(answer.getheaders()), answer.read())
        except OSError:
            self._say(503, {"Retry-After": "1"}, b"{}")
            return
        finally:
            connection.close()
        with self.server.served:
            self.server.taken += 1
            self.server.served.notify_all()

    do_PUT = do_GET = do_HEAD = do_POST  # noqa: N815 - names that http.server looks for

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
def unsteady_proxy(port: int, refusals: int) -> Iterator[UnsteadyProxy]:
    with UnsteadyProxy(port, refusals) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
