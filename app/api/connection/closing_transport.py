"""A transport that lets its protocol decide how to close."""

from collections.abc import Callable
from typing import Any


class ClosingTransport:
    """The wrapped transport, except that `close` asks the protocol to end the connection."""

    def __init__(self, transport: Any, close: Callable[[], None]) -> None:
        self._transport = transport
        self._close = close
        self._asked = False

    def close(self) -> None:
        self._asked = True
        self._close()

    def write(self, data: bytes) -> None:
        """Nothing follows the last answer."""
        if not self._asked:
            self._transport.write(data)

    def is_closing(self) -> bool:
        return self._asked or bool(self._transport.is_closing())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
