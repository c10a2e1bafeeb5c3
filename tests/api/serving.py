"""An ASGI application behind a real uvicorn, on a free port, in a thread of the test process."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx
import uvicorn
from starlette.types import ASGIApp

RECEIVE_BYTES: Final = 64 << 10


class _Server(uvicorn.Server):
    """Says when it listens, and stops when told to instead of looking every 0.1 seconds."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.listening.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._stop.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)


@contextmanager
def serving(app: ASGIApp, host: str = "127.0.0.1") -> Iterator[httpx.Client]:
    """A client whose base URL is the running application."""
    config = uvicorn.Config(app, host=host, port=0, log_level="warning", ws="none", access_log=False)
    server = _Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), name="uvicorn")
    thread.start()
    try:
        assert server.listening.wait(10), "uvicorn did not start"
        port = server.servers[0].sockets[0].getsockname()[1]
        # Without a size of its own the kernel lets a socket's buffer grow to 32 MiB: a whole file would fit.
        transport = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)])
        with httpx.Client(base_url=f"http://{host}:{port}", timeout=10, transport=transport) as client:
            yield client
    finally:
        server.stop()
        thread.join(10)
        assert not thread.is_alive()
