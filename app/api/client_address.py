"""The address that a request came from, also through trusted proxies."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

import msgspec

from app.api.headers import RawHeaders

CACHED_PEERS_MAX: Final = 4096
CACHED_CHAINS_MAX: Final = 4096
CACHED_CHAIN_BYTES_MAX: Final = 256
"""Bounds of the two caches; a full one is emptied. Longer forwarding chains are evaluated each time."""

HOPS_MAX: Final = 32
"""Hops of a forwarding chain that are evaluated, from the right; for longer chains the peer's address is
used."""

_V4_MAPPED: Final = bytes(10) + b"\xff\xff"
_NO_ADDRESS: Final = bytes(16)
_NETWORK_BYTES: Final = 8
_OF_MANY_HOSTS: Final = (
    bytes(_NETWORK_BYTES),  # ::ffff:0:0/96 (IPv4) and ::1
    b"\xfe\x80",  # fe80::/10, addresses on one link
    b"\x00\x64\xff\x9b",  # 64:ff9b::/96 and 64:ff9b:1::/48, translated IPv4
)

Client = tuple[str, int] | None
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class ClientAddress(msgspec.Struct, frozen=True, gc=False):
    """source_ip: 16 bytes in network order, IPv4 in its IPv4-mapped form, zeros for a unix socket.

    trusted_forwarder: whether the peer is a trusted proxy, so that a batch may name its own source_ip.
    """

    source_ip: bytes
    trusted_forwarder: bool


class ClientAddresses:
    """Finds the address of the client behind a connection.

    X-Forwarded-For and Forwarded are used only from a trusted peer. They are read from the right, past
    trusted hops, to the first untrusted one: anything left of it could be forged. A hop that is not an
    address (`unknown`, an obfuscated name, garbage) ends the search, and the peer's address is used. If both
    headers are present, X-Forwarded-For is used; a proxy that writes Forwarded must remove the other.
    """

    def __init__(self, trusted_proxies: Iterable[Network] = ()) -> None:
        self._networks = tuple(trusted_proxies)
        self._peers: dict[str, ClientAddress] = {}
        self._chains: dict[tuple[str, bytes], ClientAddress] = {}

    def of(self, client: Client, headers: RawHeaders) -> ClientAddress:
        """client: ASGI's `scope["client"]`. headers: ASGI's raw headers."""
        host = client[0] if client else ""
        peer = self._peers.get(host)
        if peer is None:
            peer = self._look_at(host)
        if not peer.trusted_forwarder:
            return peer
        return self._behind(peer, host, headers)

    def _look_at(self, host: str) -> ClientAddress:
        address = _address(host)
        if address is None:
            peer = ClientAddress(_NO_ADDRESS, trusted_forwarder=False)
        else:
            peer = ClientAddress(_sixteen_bytes(address), self._trusts(address))
        if len(self._peers) >= CACHED_PEERS_MAX:
            self._peers.clear()
        self._peers[host] = peer
        return peer

    def _behind(self, peer: ClientAddress, host: str, headers: RawHeaders) -> ClientAddress:
        x_forwarded_for = [value for name, value in headers if name == b"x-forwarded-for"]
        forwarded = [] if x_forwarded_for else [value for name, value in headers if name == b"forwarded"]
        if not x_forwarded_for and not forwarded:
            return peer
        chain = b",".join(x_forwarded_for or forwarded)
        key = (("x" if x_forwarded_for else "f") + host, chain)
        known = self._chains.get(key)
        if known is not None:
            return known
        text = chain.decode("latin-1")
        hops = text.rsplit(",", HOPS_MAX) if x_forwarded_for else _forwarded_for(text)
        address = self._first_untrusted(hops)
        found = peer if address is None else ClientAddress(_sixteen_bytes(address), trusted_forwarder=True)
        if len(chain) <= CACHED_CHAIN_BYTES_MAX:
            if len(self._chains) >= CACHED_CHAINS_MAX:
                self._chains.clear()
            self._chains[key] = found
        return found

    def _first_untrusted(self, hops: list[str]) -> Address | None:
        """The client's address, or None if the chain cannot be parsed."""
        address = None
        for hop in reversed(hops[-HOPS_MAX:]):
            address = _hop_address(hop)
            if address is None or not self._trusts(address):
                return address
        return address if len(hops) <= HOPS_MAX else None

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def network_of(source_ip: bytes) -> bytes:
    """The part of an address of 16 bytes that limits count as one client: all of an IPv4 address, and of an
    IPv6 address its /64, since a host chooses the rest itself; where many hosts share a /64, all of it."""
    return source_ip if source_ip.startswith(_OF_MANY_HOSTS) else source_ip[:_NETWORK_BYTES]


def _address(text: str) -> Address | None:
    """The address in `text`; an IPv4-mapped IPv6 address as the IPv4 address it is."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(address.packed)  # without its zone
    return address


def _hop_address(hop: str) -> Address | None:
    """`192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`."""
    text = hop.strip()
    if text.startswith("["):
        text, _, port = text[1:].partition("]")
        return _address(text) if not port or port[0] == ":" else None
    if text.count(":") == 1:
        text = text.partition(":")[0]
    return _address(text)


def _forwarded_for(value: str) -> list[str]:
    """The `for` of each element of a Forwarded header (RFC 7239); "" if an element has none."""
    hops = []
    for element in value.rsplit(",", HOPS_MAX):
        hop = ""
        for pair in element.split(";"):
            name, _, parameter = pair.partition("=")
            if name.strip().lower() == "for":
                hop = parameter.strip().strip('"')
        hops.append(hop)
    return hops


def _sixteen_bytes(address: Address) -> bytes:
    return _V4_MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed
