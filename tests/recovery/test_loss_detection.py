"""RFC 9002 section 6.1: each detector's own rule, and what all of them promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS, LossDetector
from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.registry import Spec
from rudp_smtp.units import SECOND
from tests.recovery.builders import ms, numbers, rtt_of, sent_packet


def detector(name: str, **parameters: object) -> LossDetector:
    return LOSS_DETECTORS.build(Spec(name, tuple(sorted(parameters.items()))))


def missing_packets(*numbers_and_times: tuple[int, int]) -> list[SentPacket]:
    return [sent_packet(number, sent_time) for number, sent_time in numbers_and_times]


def test_every_detector_this_version_promises_exists() -> None:
    assert {"packet_threshold", "time_threshold", "rfc9002"} <= set(LOSS_DETECTORS.names())


@pytest.mark.parametrize("name", ["packet_threshold", "rfc9002"])
@pytest.mark.parametrize(("largest_acked", "lost"), [(6, []), (7, [4]), (8, [4, 5])])
def test_a_packet_is_lost_when_the_third_after_it_is_acknowledged(
    name: str, largest_acked: int, lost: list[int]
) -> None:
    """RFC 9002 section 6.1.1: kPacketThreshold is 3."""
    missing = missing_packets((4, ms(99)), (5, ms(99)))
    verdict = detector(name).detect(missing, largest_acked, rtt_of(ms(40)), ms(100))
    assert numbers(verdict.lost) == lost


def test_the_packet_threshold_alone_sets_no_time() -> None:
    verdict = detector("packet_threshold").detect(missing_packets((4, 0)), 5, rtt_of(ms(40)), 10 * SECOND)
    assert (verdict.lost, verdict.loss_time) == ([], None)


def test_the_packet_threshold_can_be_chosen() -> None:
    verdict = detector("packet_threshold", threshold=10).detect(missing_packets((4, 0), (5, 0)), 14, rtt_of(ms(40)), 1)
    assert numbers(verdict.lost) == [4]


@pytest.mark.parametrize("name", ["time_threshold", "rfc9002"])
def test_a_packet_is_lost_nine_eighths_of_a_round_trip_after_it_was_sent(name: str) -> None:
    """RFC 9002 section 6.1.2: kTimeThreshold * max(smoothed_rtt, latest_rtt)."""
    missing = missing_packets((4, ms(10)), (5, ms(12)))
    verdict = detector(name).detect(missing, 6, rtt_of(ms(40)), ms(54))
    assert (verdict.lost, verdict.loss_time) == ([], ms(55))
    verdict = detector(name).detect(missing, 6, rtt_of(ms(40)), ms(55))
    assert (numbers(verdict.lost), verdict.loss_time) == ([4], ms(57))


@pytest.mark.parametrize("name", ["time_threshold", "rfc9002"])
def test_a_round_trip_longer_than_the_average_counts(name: str) -> None:
    """RFC 9002 section 6.1.2: latest_rtt keeps a sudden rise of the round trip from looking like loss."""
    verdict = detector(name).detect(missing_packets((4, 0)), 5, rtt_of(ms(40), ms(80)), ms(60))
    assert (verdict.lost, verdict.loss_time) == ([], ms(90))


@pytest.mark.parametrize("name", ["time_threshold", "rfc9002"])
def test_the_time_threshold_is_never_below_the_granularity_of_the_clock(name: str) -> None:
    """RFC 9002 section 6.1.2: the time threshold is at least kGranularity, 1 ms."""
    verdict = detector(name).detect(missing_packets((4, 0)), 5, rtt_of(ms(0.1)), ms(0.5))
    assert (verdict.lost, verdict.loss_time) == ([], ms(1))


def test_the_rule_that_lost_a_packet_is_named() -> None:
    both, packets = detector("rfc9002"), missing_packets((4, 0))
    assert both.trigger(packets[0], 7) == "reordering_threshold"
    assert both.trigger(packets[0], 6) == "time_threshold"
    assert detector("packet_threshold").trigger(packets[0], 7) == "reordering_threshold"
    assert detector("time_threshold").trigger(packets[0], 7) == "time_threshold"


@pytest.mark.parametrize(
    ("choice", "key"),
    [
        ({"model": "packet_threshold", "threshold": 0}, "here.threshold"),
        ({"model": "rfc9002", "threshold": -1}, "here.threshold"),
        ({"model": "time_threshold", "numerator": 7}, "here.numerator"),
        ({"model": "time_threshold", "denominator": 0}, "here.denominator"),
        ({"model": "rfc9002", "granularity": "0ms"}, "here.granularity"),
        ({"model": "rfc9002", "granularity": 1}, "here.granularity"),
    ],
)
def test_impossible_parameters_are_refused_by_key(choice: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LOSS_DETECTORS.spec(choice, "here")
    assert caught.value.key == key


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[SentPacket], int, RttEstimator, int]:
    gaps = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(0, ms(20))), min_size=1, max_size=12))
    number = time = 0
    missing = []
    for number_gap, time_gap in gaps:
        number, time = number + number_gap, time + time_gap
        missing.append(sent_packet(number, time))
    rtt = rtt_of(*draw(st.lists(st.integers(1, SECOND), min_size=1, max_size=4)))
    return missing, number + draw(st.integers(1, 6)), rtt, time + draw(st.integers(0, SECOND))


@pytest.mark.parametrize("name", LOSS_DETECTORS.names())
@given(situations())
def test_what_is_lost_comes_first_and_the_next_loss_is_still_to_come(
    name: str, situation: tuple[list[SentPacket], int, RttEstimator, int]
) -> None:
    missing, largest_acked, rtt, now = situation
    verdict = detector(name).detect(missing, largest_acked, rtt, now)
    assert verdict.lost == missing[: len(verdict.lost)]
    if verdict.loss_time is not None:
        assert verdict.loss_time > now
        assert len(verdict.lost) < len(missing)
        later = detector(name).detect(missing, largest_acked, rtt, verdict.loss_time)
        assert len(later.lost) > len(verdict.lost)
