"""RFC 9002 section 5."""

from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.recovery.rtt import RttEstimator
from tests.recovery.builders import INITIAL_RTT, ms, rtt_of


def test_before_any_sample_the_estimate_is_the_initial_one_and_its_variation_half_of_it() -> None:
    """RFC 9002 section 5.3: smoothed_rtt = kInitialRtt, rttvar = kInitialRtt / 2."""
    rtt = RttEstimator(ms(333))
    assert (rtt.smoothed_rtt, rtt.rttvar, rtt.has_sample) == (ms(333), ms(166.5), False)


def test_the_first_sample_replaces_the_estimate_and_ignores_the_delay() -> None:
    """RFC 9002 section 5.3: smoothed_rtt = latest_rtt, rttvar = latest_rtt / 2."""
    rtt = RttEstimator(INITIAL_RTT)
    rtt.on_sample(ms(40), ms(10))
    assert (rtt.smoothed_rtt, rtt.rttvar, rtt.min_rtt, rtt.has_sample) == (ms(40), ms(20), ms(40), True)


def test_later_samples_move_the_average_by_an_eighth_and_the_variation_by_a_quarter() -> None:
    """RFC 9002 section 5.3, in the order of appendix A.7: rttvar against the old smoothed_rtt."""
    rtt = rtt_of(ms(40), ms(48))
    assert rtt.rttvar == ms(17)  # 3/4 * 20 + 1/4 * |40 - 48|
    assert rtt.smoothed_rtt == ms(41)  # 7/8 * 40 + 1/8 * 48


def test_the_ack_delay_is_taken_off_a_sample() -> None:
    """RFC 9002 section 5.3: adjusted_rtt = latest_rtt - ack_delay."""
    rtt = rtt_of(ms(40))
    rtt.on_sample(ms(56), ms(8))
    assert rtt.smoothed_rtt == ms(41)
    assert rtt.latest_rtt == ms(56)


def test_the_ack_delay_never_takes_a_sample_below_the_smallest_one() -> None:
    """RFC 9002 section 5.3: adjusted only if latest_rtt >= min_rtt + ack_delay."""
    rtt = rtt_of(ms(40))
    rtt.on_sample(ms(48), ms(9))
    assert rtt.smoothed_rtt == ms(41)  # as if the delay were none


def test_the_smallest_sample_is_never_adjusted_for_the_delay() -> None:
    """RFC 9002 section 5.2: min_rtt comes from latest_rtt alone."""
    rtt = rtt_of(ms(40))
    rtt.on_sample(ms(45), ms(5))
    assert rtt.min_rtt == ms(40)
    rtt.on_sample(ms(30), ms(20))
    assert rtt.min_rtt == ms(30)


@given(st.lists(st.tuples(st.integers(1, 10**10), st.integers(0, 10**8)), min_size=1))
def test_the_average_stays_between_the_extremes_of_the_samples(samples: list[tuple[int, int]]) -> None:
    rtt = RttEstimator(INITIAL_RTT)
    for latest_rtt, ack_delay in samples:
        rtt.on_sample(latest_rtt, ack_delay)
    seen = [latest_rtt for latest_rtt, _ in samples]
    assert rtt.min_rtt == min(seen)
    assert min(seen) <= rtt.smoothed_rtt <= max(seen)
    assert 0 <= rtt.rttvar <= max(seen)
