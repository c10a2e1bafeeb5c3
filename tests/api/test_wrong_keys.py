"""How long refusals of keys are held back, as a table."""

from ipaddress import IPv6Address

from app.api.wrong_keys import ADDRESSES_MAX, FIRST_DELAY_S, FORGIVEN_PER_S, FREE, WrongKeys

ONE, OTHER = bytes(15) + b"\x01", bytes(15) + b"\x02"


def test_a_host_that_changes_its_half_of_an_ipv6_address_waits_nevertheless() -> None:
    keys = WrongKeys(2.0, Clock())
    host, next_network = IPv6Address("2001:db8:1:2::").packed, IPv6Address("2001:db8:1:3::1").packed
    link = [IPv6Address(f"fe80::{number:x}").packed for number in range(1, FREE + 10)]

    delays = [keys.delay_s(host[:8] + number.to_bytes(8)) for number in range(FREE + 2)]

    assert delays == [0.0] * FREE + [0.05, 0.1]
    assert keys.delay_s(next_network) == 0.0
    assert {keys.delay_s(address) for address in link} == {0.0}, "one link is many hosts"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_cost_nothing_and_each_after_them_twice_the_one_before() -> None:
    keys = WrongKeys(2.0, Clock())

    assert [keys.delay_s(ONE) for _ in range(FREE)] == [0.0] * FREE
    assert [keys.delay_s(ONE) for _ in range(8)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert keys.delay_s(OTHER) == 0.0, "another address pays nothing for it"


def test_an_address_is_forgiven_with_time() -> None:
    clock = Clock()
    keys = WrongKeys(2.0, clock)
    for _ in range(FREE + 5):
        keys.delay_s(ONE)
    clock.now += 5 / FORGIVEN_PER_S
    assert keys.delay_s(ONE) == FIRST_DELAY_S
    clock.now += (FREE + 1) / FORGIVEN_PER_S
    assert keys.delay_s(ONE) == 0.0


def test_however_many_it_sent_an_address_is_forgiven_within_minutes() -> None:
    clock = Clock()
    keys = WrongKeys(2.0, clock)
    for _ in range(10_000):
        keys.delay_s(ONE)
    clock.now += 120
    assert keys.delay_s(ONE) == 0.0


def test_it_can_be_switched_off_and_remembers_so_many_addresses_alone() -> None:
    assert {WrongKeys(0.0, Clock()).delay_s(ONE) for _ in range(FREE * 2)} == {0.0}

    keys = WrongKeys(2.0, Clock())
    for _ in range(FREE):
        keys.delay_s(ONE)
    for number in range(ADDRESSES_MAX):
        keys.delay_s(number.to_bytes(16, "big") + b"x")
    assert keys.delay_s(ONE) == 0.0, "it was forgotten for a new one"
