"""Limits the connections that may send batches, in total and per address.

Otherwise one address could open all of them and lock out all others.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from app.api.client_address import Client, ClientAddresses, network_of

SPARE_CONNECTIONS_MAX: Final = 64
"""Connections above a limit that still get an answer, a refusal or /health; further ones are closed
immediately."""


def _nothing() -> None:
    return


class Seat(msgspec.Struct, frozen=True):
    """The place of an open connection. is_surplus: it is above a limit, and will be refused.

    leave: must be called once, when it is closed.
    """

    is_surplus: bool = False
    leave: Callable[[], None] = _nothing


STANDING: Final = Seat()
"""The seat of a connection that must be closed immediately."""


class Seats:
    """address_max: connections of one address, or of one /64 of IPv6. Trusted proxies and worker processes,
    whose connections are those of many clients, are not limited; connections of worker processes have no
    address."""

    def __init__(self, address_max: int, addresses: ClientAddresses) -> None:
        self._address_max = address_max
        self._addresses = addresses
        self._open: Counter[bytes] = Counter()

    def take(self, client: Client, beyond: int) -> Seat:
        """A seat for a new connection. beyond: by how many the connections of all addresses exceed their
        limit."""
        address = self._addresses.of(client, [])
        of_many = client is None or address.trusted_forwarder
        network = network_of(address.source_ip)
        if not of_many:
            beyond = max(beyond, self._open[network] - self._address_max)
        if beyond >= SPARE_CONNECTIONS_MAX:
            return STANDING
        if of_many:
            return Seat(beyond >= 0)
        self._open[network] += 1
        return Seat(beyond >= 0, lambda: self._leave(network))

    def _leave(self, network: bytes) -> None:
        self._open[network] -= 1
        if not self._open[network]:
            del self._open[network]
