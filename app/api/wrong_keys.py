"""How long a refusal of a key is held back: whoever tries keys waits longer with each, by address."""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.client_address import ClientAddresses

FREE: Final = 20
"""Wrong keys of one address that cost nothing: a client with an old key is told so at once."""

FORGIVEN_PER_S: Final = 0.5
"""Wrong keys that an address is forgiven each second."""

FIRST_DELAY_S: Final = 0.05

ADDRESSES_MAX: Final = 4096
"""Addresses that are remembered; the one that was counted first is forgotten for a new one."""


class WrongKeys:
    """longest_s: no answer is held back longer; 0 switches it off. clock: seconds, never set back."""

    def __init__(self, longest_s: float, clock: Callable[[], float]) -> None:
        self._longest_s = longest_s
        self._clock = clock
        self._counts: dict[bytes, tuple[float, float]] = {}

    def delay_s(self, address: bytes) -> float:
        """For how long to hold back one more refusal. Each call counts."""
        if not self._longest_s:
            return 0.0
        now = self._clock()
        count, since = self._counts.pop(address, (0.0, now))
        count = max(count - (now - since) * FORGIVEN_PER_S, 0.0) + 1
        if len(self._counts) >= ADDRESSES_MAX:
            del self._counts[next(iter(self._counts))]
        self._counts[address] = (count, now)
        if count <= FREE:
            return 0.0
        return min(FIRST_DELAY_S * 2 ** min(count - FREE - 1, 16), self._longest_s)


class LateRefusals:
    """ASGI middleware: answers 401 after the delay of its address."""

    def __init__(self, app: ASGIApp, wrong_keys: WrongKeys, addresses: ClientAddresses) -> None:
        self._app = app
        self._wrong_keys = wrong_keys
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_late(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                address = self._addresses.of(scope.get("client"), scope["headers"])
                delay_s = self._wrong_keys.delay_s(address.source_ip)
                if delay_s:
                    await asyncio.sleep(delay_s)
            await send(message)

        await self._app(scope, receive, send_late)
