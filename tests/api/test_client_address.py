"""Whose address is stored: the peer's, or one that a trusted proxy vouches for."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.client_address import CACHED_CHAINS_MAX, CACHED_PEERS_MAX, HOPS_MAX, ClientAddresses

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
PEER = ("10.0.0.1", 4711)


def sixteen(text: str) -> bytes:
    address = ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def of(client, *headers: tuple[bytes, bytes], proxies=PROXIES):
    return ClientAddresses(proxies).of(client, list(headers))


def test_an_ipv4_peer_is_stored_in_its_mapped_form():
    assert of(("192.0.2.1", 1)).source_ip == bytes.fromhex("00000000000000000000ffffc0000201")


def test_an_ipv6_peer_is_stored_as_it_is_without_its_zone():
    assert of(("2001:db8::1", 1)).source_ip == sixteen("2001:db8::1")
    assert of(("fe80::1%eth0", 1)).source_ip == sixteen("fe80::1")


@pytest.mark.parametrize("client", [None, ("", 0)])
def test_a_unix_socket_has_no_address_and_is_not_trusted(client):
    found = of(client, (b"x-forwarded-for", b"192.0.2.1"))
    assert found.source_ip == bytes(16)
    assert not found.trusted_forwarder


def test_nobody_else_than_a_trusted_proxy_may_say_who_the_client_is():
    headers = [(b"x-forwarded-for", b"192.0.2.9"), (b"forwarded", b"for=192.0.2.9")]
    found = of(("198.51.100.1", 1), *headers)
    assert found.source_ip == sixteen("198.51.100.1")
    assert not found.trusted_forwarder
    assert of(PEER, *headers, proxies=[]).source_ip == sixteen("10.0.0.1")


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"192.0.2.9", "192.0.2.9"),
        (b" 192.0.2.9 ", "192.0.2.9"),
        (b"192.0.2.9:8080", "192.0.2.9"),
        (b"2001:db8::9", "2001:db8::9"),
        (b"[2001:db8::9]", "2001:db8::9"),
        (b"[2001:db8::9]:8080", "2001:db8::9"),
        (b"::ffff:192.0.2.9", "192.0.2.9"),
        (b"6.6.6.6, 192.0.2.9", "192.0.2.9"),
        (b"6.6.6.6, 192.0.2.9, 10.2.0.1, ::ffff:10.3.0.1, fd00::7", "192.0.2.9"),
        (b"10.9.0.1, 10.2.0.1", "10.9.0.1"),
        (b"unknown", "10.0.0.1"),
        (b"", "10.0.0.1"),
        (b"192.0.2.9, _hidden, 10.2.0.1", "10.0.0.1"),
        (b"[192.0.2.9", "192.0.2.9"),
        (b"[2001:db8::9]x", "10.0.0.1"),
    ],
)
def test_x_forwarded_for_is_walked_from_the_right_past_trusted_hops(value, client):
    assert of(PEER, (b"x-forwarded-for", value)).source_ip == sixteen(client)


def test_several_x_forwarded_for_headers_are_one_chain():
    found = of(PEER, (b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"192.0.2.9, 10.2.0.1"))
    assert found.source_ip == sixteen("192.0.2.9")
    assert found.trusted_forwarder


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"for=192.0.2.9", "192.0.2.9"),
        (b"For=192.0.2.9;proto=https;by=10.0.0.1", "192.0.2.9"),
        (b'for="[2001:db8::9]:4711"', "2001:db8::9"),
        (b'for=6.6.6.6, for="192.0.2.9:80";proto=http, for=10.2.0.1', "192.0.2.9"),
        (b"for=unknown", "10.0.0.1"),
        (b"proto=https", "10.0.0.1"),
    ],
)
def test_forwarded_counts_too(value, client):
    assert of(PEER, (b"forwarded", value)).source_ip == sixteen(client)


def test_a_chain_that_is_too_long_counts_for_nothing():
    hops = ["192.0.2.9"] + ["10.2.0.1"] * (HOPS_MAX - 1)
    assert of(PEER, (b"x-forwarded-for", ", ".join(hops).encode())).source_ip == sixteen("192.0.2.9")
    hops = ["192.0.2.9"] + ["10.2.0.1"] * HOPS_MAX
    assert of(PEER, (b"x-forwarded-for", ", ".join(hops).encode())).source_ip == sixteen("10.0.0.1")


def test_the_caches_are_bounded_and_change_nothing():
    addresses = ClientAddresses(PROXIES)
    for i in range(2 * CACHED_PEERS_MAX):
        text = f"192.{i >> 16}.{i >> 8 & 255}.{i & 255}"
        assert addresses.of((text, 1), []).source_ip == sixteen(text)
        assert addresses.of(PEER, [(b"x-forwarded-for", text.encode())]).source_ip == sixteen(text)
    assert len(addresses._peers) <= CACHED_PEERS_MAX
    assert len(addresses._chains) <= CACHED_CHAINS_MAX


def test_what_one_proxy_said_is_not_taken_for_what_another_said():
    addresses = ClientAddresses(PROXIES)
    header = [(b"x-forwarded-for", b"192.0.2.9")]
    assert addresses.of(PEER, header).source_ip == sixteen("192.0.2.9")
    assert addresses.of(("198.51.100.1", 1), header).source_ip == sixteen("198.51.100.1")


@given(st.sampled_from([b"x-forwarded-for", b"forwarded"]), st.binary(max_size=200))
def test_any_header_gives_sixteen_bytes(name, value):
    assert len(of(PEER, (name, value)).source_ip) == 16
