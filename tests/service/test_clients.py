"""What one client may use, by a clock that the test turns."""

from dataclasses import dataclass

import pytest

from rudp_smtp.service.clients import ClientLimits, Clients, Visit
from rudp_smtp.smtp.replies import Reply
from rudp_smtp.units import SECOND

A, B = "192.0.2.1", "192.0.2.2"


@dataclass
class Clock:
    now: int = 10**18

    def __call__(self) -> int:
        return self.now


def clients(clock: Clock | None = None, **limits: int) -> Clients:
    return Clients(ClientLimits(**limits), clock or Clock())


def admit(of: Clients, host: str) -> Visit:
    visit = of.admit(host)
    assert isinstance(visit, Visit)
    return visit


def is_refused(of: Clients, host: str) -> bool:
    answer = of.admit(host)
    if isinstance(answer, Reply):
        assert answer.code == 421
        return True
    answer.leave()
    return False


def test_one_client_has_so_many_sessions_and_others_theirs() -> None:
    of = clients(sessions=2)
    first, _ = admit(of, A), admit(of, A)
    assert is_refused(of, A)
    assert not is_refused(of, B)
    first.leave()
    assert not is_refused(of, A)


def test_all_together_have_so_many_sessions() -> None:
    of = clients(sessions_in_all=2)
    first, _ = admit(of, A), admit(of, B)
    assert is_refused(of, "192.0.2.3")
    first.leave()
    assert not is_refused(of, "192.0.2.3")


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", A, True),
        ("fe80::1%lo", "fe80::2", True),
        (A, B, False),
    ],
)
def test_a_client_is_an_address_or_the_network_that_goes_with_it(one: str, other: str, is_same: bool) -> None:
    of = clients(sessions=1)
    admit(of, one)
    assert is_refused(of, other) == is_same


def test_messages_are_counted_by_the_minute_over_all_sessions_of_a_client() -> None:
    clock = Clock()
    of = clients(clock, messages_per_minute=3)
    first, second, other = admit(of, A), admit(of, A), admit(of, B)
    assert [visit.take_message() for visit in (first, second, first)] == [None] * 3
    refusal = second.take_message()
    assert refusal is not None
    assert refusal.is_transient
    assert second.refuse_recipient() == refusal
    assert other.take_message() is None
    clock.now += 60 * SECOND
    assert second.refuse_recipient() is None
    assert second.take_message() is None


def test_each_failure_to_authenticate_waits_longer_also_in_a_new_session() -> None:
    clock = Clock()
    of = clients(clock)
    waits = []
    for _ in range(9):
        visit = admit(of, A)
        waits.append(visit.wait_after(1) // SECOND)
        assert visit.wait_after(1) == 0  # no further failure
        visit.leave()
        clock.now += waits[-1] * SECOND
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert admit(of, B).wait_after(1) == SECOND
    clock.now += 3600 * SECOND
    assert admit(of, A).wait_after(1) == SECOND


def test_guessing_side_by_side_is_no_faster() -> None:
    of = clients()
    waits = [admit(of, A).wait_after(1) // SECOND for _ in range(20)]
    assert waits[:7] == [1, 3, 7, 15, 31, 63, 123]
    assert waits == sorted(waits)
    assert waits[-1] == 600


def test_clients_that_are_gone_are_forgotten_and_those_that_are_here_never() -> None:
    of = clients(sessions=1)
    admit(of, A)
    for number in range(30_000):
        admit(of, f"host{number}").leave()
    assert is_refused(of, A)
