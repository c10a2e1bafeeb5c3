"""Forwards a request to the process that can answer it, over a local socket.

Requests are small (a worker answers its own calls itself); answers are streamed.
"""

import asyncio
import socket
from typing import Final

import httptools
from starlette.types import Message, Receive, Scope, Send

from app.api.error_responses import RequestIds, error_response, request_id_of
from app.errors import BodyTooLarge, Overloaded, RequestError

REQUEST_BYTES_MAX: Final = 64 << 10
"""Limit for bodies: no forwarded call needs one but POST /query, whose bodies are smaller."""

READ_BYTES: Final = 256 << 10

_OF_THE_CONNECTION: Final = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"content-length", b"expect"}
)


class Forwarder:
    """An ASGI application. address: of the other process's Unix socket."""

    def __init__(self, address: str | bytes, ids: RequestIds) -> None:
        self._address = address
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            await self._refuse(scope, send, BodyTooLarge("The body is too large for this call."))
            return
        try:
            reader, writer = await self._connect()
        except OSError:
            await self._refuse(scope, send, _unreachable())
            return
        try:
            writer.write(_request(scope, body))
            passing = asyncio.ensure_future(_Response(scope["method"], send).pass_on(reader))
            leaving = asyncio.ensure_future(_until_client_leaves(receive))
            try:
                # The other process must know that its answer is no longer waited for.
                await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if passing.done() and not passing.result():
                    await self._refuse(scope, send, _unreachable())
            finally:
                passing.cancel()
                leaving.cancel()
        finally:
            writer.close()

    async def _refuse(self, scope: Scope, send: Send, error: RequestError) -> None:
        answer = error_response(error, request_id_of(scope, self._ids))
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            # The loop's own way to connect knows paths alone.
            await asyncio.get_running_loop().sock_connect(connection, self._address)
            return await asyncio.open_unix_connection(sock=connection)
        except BaseException:
            connection.close()
            raise


async def _until_client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _unreachable() -> Overloaded:
    return Overloaded("The service is starting or stopping; try again.", retry_after_s=5)


async def _body(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > REQUEST_BYTES_MAX:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _request(scope: Scope, body: bytes) -> bytes:
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    lines = [b"%s %s HTTP/1.1" % (scope["method"].encode(), scope["raw_path"] + query)]
    lines += [b"%s: %s" % pair for pair in scope["headers"] if pair[0] not in _OF_THE_CONNECTION]
    if not any(name == b"host" for name, _ in scope["headers"]):
        lines.append(b"host: localhost")  # HTTP/1.0 needs none, as load balancers' checks send it
    lines += [b"connection: close", b"content-length: %d" % len(body), b"", body]
    return b"\r\n".join(lines)


class _Response:
    """Reads an answer and sends it as it arrives. httptools calls its methods on_…."""

    def __init__(self, method: str, send: Send) -> None:
        self._send = send
        self._bodiless = method == "HEAD"
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._waiting: list[Message] = []
        self._begun = self._ended = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() not in (b"connection", b"transfer-encoding"):
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._begun = True
        self._waiting.append({"type": "http.response.start", "status": status, "headers": self._headers})
        if self._bodiless:
            self.on_message_complete()

    def on_body(self, data: bytes) -> None:
        self._waiting.append({"type": "http.response.body", "body": data, "more_body": True})

    def on_message_complete(self) -> None:
        if not self._ended:
            self._ended = True
            self._waiting.append({"type": "http.response.body", "body": b""})

    async def pass_on(self, reader: asyncio.StreamReader) -> bool:
        """False if nothing arrives. Raises ConnectionError if the answer is cut off, so that the client
        notices."""
        while not self._ended:
            data = await reader.read(READ_BYTES)
            if data:
                self._parser.feed_data(data)
            elif not self._begun:
                return False
            else:
                raise ConnectionError("the answer was incomplete")
            waiting, self._waiting = self._waiting, []
            for message in waiting:
                await self._send(message)
        return True
