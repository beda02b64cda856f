"""RFC 9002 section 6.2.1, RFC 6298: each timer's own formula, and what all of them promise."""

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.timer import TIMERS, RtoEstimator
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND, SECOND
from tests.recovery.builders import MAX_ACK_DELAY, ms, rtt_of

ADAPTIVE = ["pto", "pto_eager", "rfc6298"]  # the timers that are about the round trip at all


def timer(name: str, **parameters: object) -> RtoEstimator:
    return TIMERS.build(Spec(name, tuple(sorted(parameters.items()))))


def timeout_after(estimator: RtoEstimator, samples: list[int], expirations: int = 0) -> int:
    for sample in samples:
        estimator.on_rtt_sample(sample, 0)
    return estimator.timeout(rtt_of(*samples), MAX_ACK_DELAY, expirations)


def low_floor(name: str) -> RtoEstimator:
    return timer(name, minimum=MILLISECOND) if name == "rfc6298" else timer(name)


def test_every_timer_this_version_promises_exists() -> None:
    assert {"pto", "pto_eager", "rfc6298", "fixed"} <= set(TIMERS.names())


@pytest.mark.parametrize("name", TIMERS.names())
def test_no_timer_is_below_the_granularity_of_the_clock(name: str) -> None:
    assert timeout_after(low_floor(name), [1] * 50) >= MILLISECOND


@pytest.mark.parametrize("name", TIMERS.names())
def test_no_timer_needs_a_sample(name: str) -> None:
    assert timer(name).timeout(RttEstimator(ms(333)), 0, 0) >= MILLISECOND


@pytest.mark.parametrize("name", TIMERS.names())
def test_a_timer_never_gets_shorter_by_expiring_and_is_bounded(name: str) -> None:
    waits = [timeout_after(timer(name), [ms(40)], expirations) for expirations in range(500)]
    assert waits == sorted(waits)
    assert waits[-1] == waits[-2]


@pytest.mark.parametrize("name", TIMERS.names())
def test_a_timer_settles_on_a_constant_round_trip(name: str) -> None:
    assert timeout_after(low_floor(name), [ms(40)] * 200) == timeout_after(low_floor(name), [ms(40)] * 201)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_timer_grows_with_the_variation_of_the_round_trip(name: str) -> None:
    steady = timeout_after(low_floor(name), [ms(40)] * 50)
    restless = timeout_after(low_floor(name), [ms(20), ms(60)] * 25)
    assert restless > steady


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_timer_is_longer_than_the_round_trip(name: str) -> None:
    assert timeout_after(low_floor(name), [ms(40)] * 200) > ms(40)


def test_the_probe_time_out_is_the_round_trip_its_variation_and_the_ack_delay() -> None:
    """RFC 9002 section 6.2.1: smoothed_rtt + max(4 * rttvar, kGranularity) + max_ack_delay."""
    assert timeout_after(timer("pto"), [ms(40)]) == ms(40) + 4 * ms(20) + ms(25)


def test_the_initial_probe_time_out_is_three_round_trips() -> None:
    """RFC 9002 section 6.2.2: an initial RTT of 333 ms makes the first handshake time-out about one second."""
    assert timer("pto").timeout(RttEstimator(ms(333)), 0, 0) == ms(999)


def test_the_probe_time_out_has_at_least_one_granularity_of_variation() -> None:
    """RFC 9002 section 6.2.1: never without any tolerance."""
    assert timer("pto").timeout(rtt_of(*[ms(40)] * 100), MAX_ACK_DELAY, 0) == ms(40) + ms(1) + ms(25)


@pytest.mark.parametrize("name", ["pto", "pto_eager"])
def test_the_probe_time_out_doubles_with_each_expiration_but_the_first(name: str) -> None:
    """RFC 9002 section 6.2.1's exponential back-off; RFC 8985 section 7.3: the first probe does not begin it."""
    first = timeout_after(timer(name), [ms(40)])
    assert [timeout_after(timer(name), [ms(40)], n) for n in (1, 2, 3)] == [first, 2 * first, 4 * first]


@pytest.mark.parametrize("name", ["pto", "pto_eager"])
def test_back_off_makes_no_probe_time_out_longer_than_a_second_or_shorter_than_it_was(name: str) -> None:
    assert timeout_after(timer(name), [ms(40)], 100) == SECOND
    assert timeout_after(timer(name), [3 * SECOND], 100) == timeout_after(timer(name), [3 * SECOND]) > 3 * SECOND
    assert timeout_after(timer(name, maximum=2 * SECOND), [ms(40)], 100) == 2 * SECOND


def test_the_rto_is_one_second_before_any_sample() -> None:
    """RFC 6298 section 2.1."""
    assert timer("rfc6298").timeout(RttEstimator(ms(333)), 0, 0) == SECOND


def test_the_rto_follows_its_own_averages_and_knows_no_ack_delay() -> None:
    """RFC 6298 sections 2.2 and 2.3: RTTVAR first, with alpha 1/8 and beta 1/4."""
    estimator = timer("rfc6298", minimum=MILLISECOND)
    assert timeout_after(estimator, [ms(40)]) == ms(40) + 4 * ms(20)
    estimator.on_rtt_sample(ms(48), ms(8))
    assert estimator.timeout(rtt_of(ms(999)), MAX_ACK_DELAY, 0) == ms(41) + 4 * ms(17)


def test_the_rto_is_at_least_a_second() -> None:
    """RFC 6298 section 2.4."""
    assert timeout_after(timer("rfc6298"), [ms(40)] * 50) == SECOND


def test_the_rto_doubles_up_to_a_minute() -> None:
    """RFC 6298 sections 5.5 and 2.5."""
    waits = [timeout_after(timer("rfc6298"), [ms(40)], n) for n in range(8)]
    assert waits == [n * SECOND for n in (1, 2, 4, 8, 16, 32, 60, 60)]


def test_only_the_rto_declares_loss() -> None:
    """RFC 6298 section 5.4 retransmits; RFC 9002 section 6.2 only probes."""
    assert [name for name in ("fixed", "pto", "pto_eager", "rfc6298") if timer(name).declares_loss] == ["rfc6298"]


def test_the_fixed_timer_is_what_was_asked_for() -> None:
    assert timeout_after(timer("fixed", interval=ms(70)), [ms(400)], 9) == ms(70)


def test_the_fixed_timer_backs_off_only_if_asked_to() -> None:
    assert timeout_after(timer("fixed", interval=ms(70), backoff=3), [ms(400)], 2) == ms(630)


@pytest.mark.parametrize(
    ("choice", "key"),
    [
        ({"model": "pto", "granularity": "0ms"}, "here.granularity"),
        ({"model": "pto", "maximum": "0ms"}, "here.maximum"),
        ({"model": "pto_eager", "granularity": "0ms"}, "here.granularity"),
        ({"model": "pto_eager", "maximum": "500us"}, "here.maximum"),
        ({"model": "rfc6298", "minimum": "2s", "maximum": "1s"}, "here.maximum"),
        ({"model": "rfc6298", "initial": "0s"}, "here.initial"),
        ({"model": "rfc6298", "minimum": 1}, "here.minimum"),
        ({"model": "fixed", "interval": "0ms"}, "here.interval"),
        ({"model": "fixed", "backoff": 0}, "here.backoff"),
        ({"model": "fixed", "interval": 200}, "here.interval"),
    ],
)
def test_impossible_parameters_are_refused_by_key(choice: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TIMERS.spec(choice, "here")
    assert caught.value.key == key
