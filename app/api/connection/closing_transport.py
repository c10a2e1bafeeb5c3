"""A transport whose end its protocol decides upon."""

from collections.abc import Callable
from typing import Any


class ClosingTransport:
    """The transport as it is, but for `close`, which asks the protocol to end the connection."""

    def __init__(self, transport: Any, close: Callable[[], None]) -> None:
        self._transport = transport
        self._close = close
        self._asked = False

    def close(self) -> None:
        self._asked = True
        self._close()

    def write(self, data: bytes) -> None:
        """Nothing follows what was said last."""
        if not self._asked:
            self._transport.write(data)

    def is_closing(self) -> bool:
        return self._asked or bool(self._transport.is_closing())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
