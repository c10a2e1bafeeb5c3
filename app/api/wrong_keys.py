"""Delays refusals of wrong keys: an address that guesses keys waits longer with each."""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.client_address import ClientAddresses, network_of

FREE: Final = 20
"""Wrong keys of one address without a delay: a client with an old key is refused immediately."""

FORGIVEN_PER_S: Final = 0.5
"""Wrong keys of an address that are forgotten per second."""

FIRST_DELAY_S: Final = 0.05

COUNTED_MAX: Final = FREE + 17
"""Wrong keys of one address that are counted, so that it is forgiven within minutes however many it sent."""

WRONG_KEY: Final = "parquet_sink.wrong_key"
"""Key of the ASGI scope, set where a wrong key is answered by another status than 401, as a protocol has
it."""

ADDRESSES_MAX: Final = 4096
"""Addresses that are remembered; the oldest one is dropped for a new one."""


class WrongKeys:
    """longest_s: the longest delay; 0 switches delays off. clock: a monotonic clock, seconds."""

    def __init__(self, longest_s: float, clock: Callable[[], float]) -> None:
        self._longest_s = longest_s
        self._clock = clock
        self._counts: dict[bytes, tuple[float, float]] = {}

    def delay_s(self, address: bytes) -> float:
        """The delay of one more refusal. Each call counts as a wrong key. address: 16 bytes; those of one /64
        of IPv6 count as one."""
        if not self._longest_s:
            return 0.0
        now = self._clock()
        address = network_of(address)
        count, since = self._counts.pop(address, (0.0, now))
        count = min(max(count - (now - since) * FORGIVEN_PER_S, 0.0) + 1, COUNTED_MAX)
        if len(self._counts) >= ADDRESSES_MAX:
            del self._counts[next(iter(self._counts))]
        self._counts[address] = (count, now)
        if count <= FREE:
            return 0.0
        return min(FIRST_DELAY_S * 2 ** (count - FREE - 1), self._longest_s)


class LateRefusals:
    """ASGI middleware: delays the answers to wrong keys by the delay of the address."""

    def __init__(self, app: ASGIApp, wrong_keys: WrongKeys, addresses: ClientAddresses) -> None:
        self._app = app
        self._wrong_keys = wrong_keys
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_late(message: Message) -> None:
            if message["type"] == "http.response.start" and (message["status"] == 401 or WRONG_KEY in scope):
                address = self._addresses.of(scope.get("client"), scope["headers"])
                delay_s = self._wrong_keys.delay_s(address.source_ip)
                if delay_s:
                    await asyncio.sleep(delay_s)
            await send(message)

        await self._app(scope, receive, send_late)
