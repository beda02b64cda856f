"""RFC 9002 section 7.7."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.recovery.pacing import Pacer
from rudp_smtp.units import SECOND
from tests.recovery.builders import MDS, ms

RATE = 1_000 * MDS  # octets per second: a packet each millisecond


def emptied_pacer(rate: int = RATE) -> Pacer:
    pacer = Pacer(MDS)
    pacer.set_rate(rate, 0)
    while pacer.allowance(0) >= MDS:
        pacer.on_packet_sent(MDS)
    return pacer


def test_the_first_burst_is_ten_packets() -> None:
    """RFC 9002 section 7.7: a burst is no larger than the initial window."""
    pacer = Pacer(MDS)
    pacer.set_rate(RATE, 0)
    assert pacer.allowance(0) == 10 * MDS


def test_idle_time_saves_up_no_more_than_a_burst() -> None:
    pacer = emptied_pacer()
    assert pacer.allowance(60 * SECOND) == 10 * MDS


def test_tokens_come_at_the_rate() -> None:
    pacer = emptied_pacer()
    assert pacer.allowance(ms(3)) == 3 * MDS
    assert pacer.allowance(ms(3.5)) == 3.5 * MDS


def test_a_change_of_rate_does_not_reprice_the_past() -> None:
    pacer = emptied_pacer()
    pacer.set_rate(2 * RATE, ms(2))
    assert pacer.allowance(ms(4)) == (2 + 4) * MDS


def test_packets_are_released_in_groups_of_two_at_least() -> None:
    pacer = emptied_pacer()
    assert pacer.deadline(0) == ms(2)
    assert pacer.allowance(ms(2)) == 2 * MDS


def test_a_fast_path_releases_what_a_millisecond_carries() -> None:
    pacer = emptied_pacer(5 * RATE)
    assert pacer.deadline(0) == ms(1)
    assert pacer.allowance(ms(1)) == 5 * MDS


def test_a_group_never_waits_for_more_than_a_burst() -> None:
    pacer = emptied_pacer(100 * RATE)
    assert pacer.deadline(0) == ms(0.1)


def test_a_probe_may_overdraw_and_the_debt_is_paid_first() -> None:
    pacer = emptied_pacer()
    pacer.on_packet_sent(MDS)
    assert pacer.allowance(ms(1)) == 0
    assert pacer.deadline(0) == ms(3)


def test_without_a_rate_nothing_is_held_back() -> None:
    pacer = Pacer(MDS)
    pacer.set_rate(None, 0)
    for _ in range(1_000):
        pacer.on_packet_sent(MDS)
    assert pacer.allowance(0) > 1_000_000 * MDS
    assert pacer.deadline(0) == 0


@pytest.mark.parametrize("rate", [1, 37_771, 2_500_000, 10**9])
def test_at_its_deadline_a_group_fits(rate: int) -> None:
    pacer = emptied_pacer(rate)
    assert pacer.allowance(pacer.deadline(0)) >= 2 * MDS


@given(st.integers(1_000, 10**9), st.lists(st.integers(0, 10**7), max_size=60))
def test_over_any_time_no_more_leaves_than_the_rate_and_one_burst(rate: int, pauses: list[int]) -> None:
    pacer = Pacer(MDS)
    pacer.set_rate(rate, 0)
    now = sent = 0
    for pause in pauses:
        now += pause
        while pacer.allowance(now) >= MDS:
            pacer.on_packet_sent(MDS)
            sent += MDS
        assert sent <= 10 * MDS + rate * now // SECOND
