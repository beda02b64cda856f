"""What a server hands out it recognises, from the same client, in time, and nothing else."""

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.transport.rudp.resumption import SERVERS_KEPT, TICKETS_KEPT, KnownServers, StrikeRegister
from rudp_smtp.transport.rudp.tokens import COOKIE_LIFETIME, TICKET_LIFETIME, FirstFlight, TokenMint
from rudp_smtp.units import MILLISECOND, SECOND
from tests.transport.rudp.puppet import LIMITS

NOW = 1000 * SECOND + 700 * MILLISECOND
HERE = ("192.0.2.1", 4000)
CLIENT: FirstFlight = (HERE, 3, 7)


def mint(seed: int = 1, terms: bytes = b"terms") -> TokenMint:
    return TokenMint(DrawKey(seed, "tokens"), terms)


def test_a_cookie_proves_its_own_first_flight() -> None:
    assert mint().proves_cookie(mint().cookie(CLIENT, NOW), CLIENT, NOW + SECOND)


@pytest.mark.parametrize(
    "other", [(("192.0.2.1", 4001), 3, 7), (("192.0.2.2", 4000), 3, 7), (HERE, 4, 7), (HERE, 3, 8)]
)
def test_a_cookie_proves_no_other_first_flight(other: FirstFlight) -> None:
    assert not mint().proves_cookie(mint().cookie(CLIENT, NOW), other, NOW)


def test_a_cookie_expires_and_none_comes_from_the_future() -> None:
    cookie = mint().cookie(CLIENT, NOW)
    assert mint().proves_cookie(cookie, CLIENT, NOW + COOKIE_LIFETIME)
    assert not mint().proves_cookie(cookie, CLIENT, NOW + COOKIE_LIFETIME + SECOND)
    assert not mint().proves_cookie(cookie, CLIENT, NOW - SECOND)


def test_neither_a_changed_bit_nor_another_secret_gives_a_cookie() -> None:
    cookie = mint().cookie(CLIENT, NOW)
    assert not mint(seed=2).proves_cookie(cookie, CLIENT, NOW)
    for position in range(len(cookie) * 8):
        forged = bytearray(cookie)
        forged[position // 8] ^= 1 << position % 8
        assert not mint().proves_cookie(bytes(forged), CLIENT, NOW)
    assert not any(mint().proves_cookie(cookie[:size], CLIENT, NOW) for size in range(len(cookie)))


def test_tickets_have_numbers_and_hold_for_the_host_whatever_its_port() -> None:
    server = mint()
    first, second = server.ticket(HERE, NOW), server.ticket(HERE, NOW)
    assert server.ticket_serial(first, HERE, NOW) == 0
    assert server.ticket_serial(second, ("192.0.2.1", 50_000), NOW + 60 * SECOND) == 1
    assert server.ticket_serial(first, ("192.0.2.2", 4000), NOW) is None
    assert server.ticket_serial(first, HERE, NOW + TICKET_LIFETIME) == 0
    assert server.ticket_serial(first, HERE, NOW + TICKET_LIFETIME + SECOND) is None


def test_a_ticket_issued_under_other_limits_is_none() -> None:
    assert mint(terms=b"less").ticket_serial(mint().ticket(HERE, NOW), HERE, NOW) is None


def test_a_cookie_is_no_ticket_and_a_ticket_no_cookie() -> None:
    server = mint()
    assert server.ticket_serial(server.cookie(CLIENT, NOW), HERE, NOW) is None
    assert not server.proves_cookie(server.ticket(HERE, NOW), CLIENT, NOW)


def test_a_ticket_is_used_once() -> None:
    register = StrikeRegister()
    assert register.strike(5, NOW)
    assert not register.strike(5, NOW)
    assert not register.strike(5, NOW + TICKET_LIFETIME - 1)


def test_a_full_register_lets_no_ticket_pass_until_old_ones_have_expired() -> None:
    register = StrikeRegister(capacity=2)
    assert register.strike(1, NOW)
    assert register.strike(2, NOW + SECOND)
    assert not register.strike(3, NOW + SECOND)
    assert register.strike(4, NOW + TICKET_LIFETIME)
    assert not register.strike(2, NOW + TICKET_LIFETIME)


def test_a_client_keeps_a_few_tickets_of_a_few_servers() -> None:
    servers = KnownServers()
    first = servers.find("mail0")
    for number in range(TICKETS_KEPT + 5):
        first.add(b"%d" % number, LIMITS, 40 * MILLISECOND)
    taken = [first.take() for _ in range(TICKETS_KEPT)]
    assert taken[0] == (b"%d" % (TICKETS_KEPT + 4), LIMITS)
    assert None not in taken
    assert first.take() is None
    first.add(b"kept", LIMITS, 40 * MILLISECOND)
    for number in range(1, SERVERS_KEPT):
        servers.find(f"mail{number}")
    assert servers.find("mail0").take() == (b"kept", LIMITS)
    first.add(b"forgotten", LIMITS, 40 * MILLISECOND)
    for number in range(1, SERVERS_KEPT + 1):
        servers.find(f"mail{number}")
    assert servers.find("mail0").take() is None
