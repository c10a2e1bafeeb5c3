"""Calls to a running service, over a connection that is kept."""

import http.client
import ssl
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

CHUNK_BYTES: Final = 64 << 10


class NotReached(Exception):
    """There is no answer. The message says why."""


class Answered(NamedTuple):
    """headers: by their names in lower case. content: the whole body."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Connection:
    """A connection to one service; one thread at a time. credential: a key or a token, empty for none.

    url: of the service, with an optional path before its calls. Raises ValueError for an invalid URL.
    """

    def __init__(self, url: str, credential: str, timeout_s: float) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is not the address of a service; write it like http://host:8080")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._is_secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._path = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answered:
        """Raises NotReached."""
        try:
            response = self._request(method, path, body, headers)
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NotReached(f"{self.url}: {error or type(error).__name__}") from None
        if response.will_close:
            self.close()
        received = {name.lower(): value for name, value in response.headers.items()}
        return Answered(response.status, received, content)

    def lines(self, path: str) -> tuple[int, Iterator[bytes]]:
        """A streamed answer: its status and its lines. Raises NotReached, even in the middle."""
        try:
            response = self._request("GET", path, None, None)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NotReached(f"{self.url}: {error or type(error).__name__}") from None
        return response.status, self._lines(response)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        try:
            while line := response.readline():
                yield line.rstrip(b"\r\n")
        except (OSError, http.client.HTTPException) as error:
            raise NotReached(f"{self.url}: {error or type(error).__name__}") from None
        finally:
            self.close()

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> http.client.HTTPResponse:
        if self._connection is None:
            if self._is_secure:
                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout_s, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        self._connection.request(method, self._path + path, body, {**self._headers, **(headers or {})})
        return self._connection.getresponse()
