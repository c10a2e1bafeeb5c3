"""Whose connections count together, as a table."""

import pytest

from app.api.client_address import ClientAddresses
from app.api.connection.seats import SPARE_CONNECTIONS_MAX, STANDING, Seats

EMPTY = -1_000


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%lo", "fe80::1", True),
        ("fe80::1", "fe80::2", False),
        ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", False),
        ("::1", "::1", True),
    ],
)
def test_a_host_is_an_ipv4_address_or_a_64_of_ipv6(first: str, second: str, together: bool) -> None:
    seats = Seats(1, ClientAddresses())
    held = seats.take((first, 1), EMPTY)
    assert not held.is_surplus
    assert seats.take((second, 2), EMPTY).is_surplus == together

    held.leave()
    if not together:
        assert not seats.take((first, 3), EMPTY).is_surplus


def test_those_of_one_64_are_closed_at_once_beyond_the_spare_ones() -> None:
    seats = Seats(2, ClientAddresses())
    taken = [seats.take((f"2001:db8::{number:x}", 1), EMPTY) for number in range(2 + SPARE_CONNECTIONS_MAX)]
    assert [seat.is_surplus for seat in taken] == [False] * 2 + [True] * SPARE_CONNECTIONS_MAX
    assert seats.take(("2001:db8::ffff", 1), EMPTY) is STANDING
