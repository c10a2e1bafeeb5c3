"""Which connections may send batches: as many as fit in all, and as many as one address may have.

One address that opens all there are would lock everybody else out.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from app.api.client_address import Client, ClientAddresses

SPARE_CONNECTIONS_MAX: Final = 64
"""Connections beyond a limit that are told so, or that ask for /health; more are ended at once."""


def _nothing() -> None:
    return


class Seat(msgspec.Struct, frozen=True):
    """What an open connection has. is_surplus: it is beyond a limit, and is told so.

    leave: to be called once, when it is closed.
    """

    is_surplus: bool = False
    leave: Callable[[], None] = _nothing


STANDING: Final = Seat()
"""Of a connection that is not to be kept."""


class Seats:
    """address_max: connections of one address; trusted proxies, which stand for many, have no such limit."""

    def __init__(self, address_max: int, addresses: ClientAddresses) -> None:
        self._address_max = address_max
        self._addresses = addresses
        self._open: Counter[bytes] = Counter()

    def take(self, client: Client, beyond: int) -> Seat:
        """A seat for a new connection. beyond: by how many those of all addresses are too many."""
        address = self._addresses.of(client, [])
        if not address.trusted_forwarder:
            beyond = max(beyond, self._open[address.source_ip] - self._address_max)
        if beyond >= SPARE_CONNECTIONS_MAX:
            return STANDING
        if address.trusted_forwarder:
            return Seat(beyond >= 0)
        self._open[address.source_ip] += 1
        return Seat(beyond >= 0, lambda: self._leave(address.source_ip))

    def _leave(self, address: bytes) -> None:
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
