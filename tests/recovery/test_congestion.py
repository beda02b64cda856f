"""What every controller promises (RFC 9002 section 7), and NewReno's own arithmetic (appendix B)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.congestion import CONTROLLERS, CongestionController, CongestionEvent, Flight, initial_window
from rudp_smtp.units import SECOND
from tests.recovery.builders import MDS, controller, ms, sent_packet

RTT = ms(40)
ADAPTIVE = [name for name in CONTROLLERS.names() if CONTROLLERS.load(name).is_adaptive]
LOSS_BASED = [name for name in ADAPTIVE if CONTROLLERS.load(name).is_loss_based]


def acknowledge(
    congestion: CongestionController, count: int, *, sent_time: int, now: int, is_app_limited: bool = False
) -> None:
    """Send `count` full packets and acknowledge them, two with each acknowledgement."""
    packets = [sent_packet(number, sent_time) for number in range(count)]
    for number, packet in enumerate(packets):
        congestion.on_packet_sent(packet, number * MDS)
    for first in range(0, count, 2):
        acked = packets[first : first + 2]
        flight = Flight(now, congestion.congestion_window, RTT, RTT, RTT, is_app_limited)
        congestion.on_packets_acked(acked, flight)


def run_rounds(congestion: CongestionController, rounds: int, start: int, *, is_app_limited: bool = False) -> int:
    """Send and acknowledge whole windows, a round trip each; the time it ends."""
    for now in range(start, start + rounds * RTT, RTT):
        count = min(congestion.congestion_window // MDS, 1_000)  # an unlimited window is never filled
        acknowledge(congestion, count, sent_time=now, now=now + RTT, is_app_limited=is_app_limited)
    return start + rounds * RTT


def lose(congestion: CongestionController, *, sent_time: int, now: int, is_persistent: bool = False) -> None:
    in_flight = congestion.congestion_window - MDS
    congestion.on_congestion_event(CongestionEvent(now, sent_time, MDS, in_flight, is_persistent))


def test_every_controller_this_version_promises_exists() -> None:
    assert {"new_reno", "cubic", "bbr", "fixed", "unlimited"} <= set(CONTROLLERS.names())
    assert {"new_reno", "cubic", "bbr"} <= set(ADAPTIVE)
    assert {"new_reno", "cubic"} <= set(LOSS_BASED)


@pytest.mark.parametrize(
    ("max_datagram_size", "window"), [(1200, 12_000), (1472, 14_720), (2000, 14_720), (9000, 18_000)]
)
def test_the_initial_window_is_ten_datagrams_within_limits(max_datagram_size: int, window: int) -> None:
    """RFC 9002 section 7.2: ten datagrams, limited to the larger of 14,720 bytes or two datagrams."""
    assert initial_window(max_datagram_size) == window


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_controller_begins_with_the_initial_window_and_no_threshold(name: str) -> None:
    """RFC 9002 sections 7.2 and 7.3.1."""
    congestion = controller(name)
    assert (congestion.congestion_window, congestion.ssthresh) == (10 * MDS, None)


@pytest.mark.parametrize("name", CONTROLLERS.names())
@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["ack", "limited", "loss", "persistent"]), st.integers(0, SECOND))))
def test_no_window_is_ever_below_two_datagrams(name: str, history: list[tuple[str, int]]) -> None:
    """RFC 9002 section 7.2: kMinimumWindow."""
    congestion, now = controller(name), 0
    for what, pause in history:
        now += pause
        if what in ("ack", "limited"):
            acknowledge(congestion, 5, sent_time=now, now=now + RTT, is_app_limited=what == "limited")
        else:
            lose(congestion, sent_time=now, now=now + RTT, is_persistent=what == "persistent")
        now += RTT
        assert congestion.congestion_window >= 2 * MDS
        assert congestion.ssthresh is None or congestion.ssthresh >= 2 * MDS


@pytest.mark.parametrize("name", LOSS_BASED)
def test_a_loss_shrinks_the_window_once_per_round_trip(name: str) -> None:
    """RFC 9002 section 7.3.2: losses of packets sent before recovery began change nothing."""
    congestion = controller(name)
    now = run_rounds(congestion, 4, 0)
    before = congestion.congestion_window
    lose(congestion, sent_time=now - RTT, now=now)
    reduced = congestion.congestion_window
    assert reduced < before
    lose(congestion, sent_time=now - 1, now=now + RTT - 1)
    lose(congestion, sent_time=now, now=now + RTT)
    assert congestion.congestion_window == reduced
    lose(congestion, sent_time=now + 1, now=now + RTT + 1)
    assert congestion.congestion_window < reduced


@pytest.mark.parametrize("name", LOSS_BASED)
def test_no_window_grows_during_recovery(name: str) -> None:
    """RFC 9002 section 7.3.2: recovery ends when a packet sent during it is acknowledged."""
    congestion = controller(name)
    now = run_rounds(congestion, 4, 0)
    lose(congestion, sent_time=now - RTT, now=now)
    reduced = congestion.congestion_window
    acknowledge(congestion, 100, sent_time=now - 1, now=now + RTT - 1)
    assert congestion.congestion_window == reduced


@pytest.mark.parametrize("name", CONTROLLERS.names())
def test_no_window_grows_while_it_is_not_filled(name: str) -> None:
    """RFC 9002 section 7.8."""
    congestion = controller(name)
    initial = congestion.congestion_window
    now = run_rounds(congestion, 10, 0, is_app_limited=True)
    assert congestion.congestion_window == initial
    lose(congestion, sent_time=now - RTT, now=now)
    reduced = congestion.congestion_window
    run_rounds(congestion, 10, now, is_app_limited=True)
    assert congestion.congestion_window == reduced


@pytest.mark.parametrize("name", ADAPTIVE)
def test_persistent_congestion_leaves_two_datagrams(name: str) -> None:
    """RFC 9002 section 7.6.2: the window is reduced to kMinimumWindow."""
    congestion = controller(name)
    now = run_rounds(congestion, 5, 0)
    lose(congestion, sent_time=now - RTT, now=now, is_persistent=True)
    assert congestion.congestion_window == 2 * MDS


@pytest.mark.parametrize("name", LOSS_BASED)
def test_after_persistent_congestion_the_window_doubles_again_up_to_the_threshold(name: str) -> None:
    """RFC 9002 section 7.6.2: like TCP after an RTO, from slow start."""
    congestion = controller(name)
    now = run_rounds(congestion, 4, 0)
    lose(congestion, sent_time=now - RTT, now=now, is_persistent=True)
    threshold = congestion.ssthresh
    assert threshold is not None
    assert threshold >= 40 * MDS
    run_rounds(congestion, 3, now)
    assert congestion.congestion_window == 16 * MDS


@pytest.mark.parametrize("name", LOSS_BASED)
def test_a_flight_that_times_out_again_keeps_its_threshold(name: str) -> None:
    """RFC 5681 section 3.1: ssthresh is held constant for a segment already resent by the timer."""
    congestion = controller(name)
    now = run_rounds(congestion, 4, 0)
    for expiry in (now, now + SECOND, now + 3 * SECOND):
        lose(congestion, sent_time=expiry - 1, now=expiry, is_persistent=True)
    assert congestion.ssthresh is not None
    assert congestion.ssthresh >= 40 * MDS


@pytest.mark.parametrize("name", ADAPTIVE)
def test_slow_start_doubles_the_window_each_round_trip(name: str) -> None:
    """RFC 9002 section 7.3.1: the window grows by the bytes acknowledged."""
    congestion = controller(name)
    windows = [congestion.congestion_window]
    for number in range(3):
        run_rounds(congestion, 1, number * RTT)
        windows.append(congestion.congestion_window)
    assert windows == [10 * MDS, 20 * MDS, 40 * MDS, 80 * MDS]


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_window_recovers_after_a_loss(name: str) -> None:
    congestion = controller(name)
    now = run_rounds(congestion, 2, 0)
    before = congestion.congestion_window
    lose(congestion, sent_time=now - 1, now=now)
    run_rounds(congestion, 100, now + 1)
    assert congestion.congestion_window > before


@pytest.mark.parametrize("name", [name for name in CONTROLLERS.names() if CONTROLLERS.load(name).is_loss_based])
def test_windows_are_spread_over_four_fifths_of_a_round_trip_or_not_at_all(name: str) -> None:
    """RFC 9002 section 7.7: rate = N * congestion_window / smoothed_rtt with N = 1.25; a model has its own rate."""
    congestion = controller(name)
    rate = congestion.pacing_rate(RTT)
    if rate is not None:
        assert rate == congestion.congestion_window * 5 * SECOND // (4 * RTT)


def test_only_the_unlimited_window_is_not_paced() -> None:
    shipped = ("cubic", "fixed", "new_reno", "unlimited")
    assert [name for name in shipped if controller(name).pacing_rate(RTT) is None] == ["unlimited"]


@pytest.mark.parametrize("name", LOSS_BASED)
def test_a_reduction_that_was_for_nothing_is_taken_back(name: str) -> None:
    """The idea of RFC 4015; RFC 9438 section 4.9: window and threshold are what they were, and growth goes on."""
    congestion = controller(name)
    now = run_rounds(congestion, 3, 0)
    before = congestion.congestion_window
    lose(congestion, sent_time=now - 1, now=now)
    congestion.on_spurious_congestion_event(now + RTT)
    assert (congestion.congestion_window, congestion.ssthresh) == (before, None)
    run_rounds(congestion, 1, now + RTT)
    assert congestion.congestion_window == 2 * before


@pytest.mark.parametrize("name", LOSS_BASED)
def test_only_the_last_reduction_is_taken_back_and_only_once(name: str) -> None:
    congestion = controller(name)
    now = run_rounds(congestion, 4, 0)
    lose(congestion, sent_time=now - 1, now=now)
    once = congestion.congestion_window, congestion.ssthresh
    lose(congestion, sent_time=now + 1, now=now + RTT)
    for _ in range(2):
        congestion.on_spurious_congestion_event(now + 2 * RTT)
        assert (congestion.congestion_window, congestion.ssthresh) == once


@pytest.mark.parametrize("name", LOSS_BASED)
def test_persistent_congestion_is_never_taken_back(name: str) -> None:
    """RFC 9002 section 7.6: that so much was late proves that the path was worse than slow."""
    congestion = controller(name)
    now = run_rounds(congestion, 4, 0)
    lose(congestion, sent_time=now - 1, now=now, is_persistent=True)
    congestion.on_spurious_congestion_event(now + RTT)
    assert congestion.congestion_window == 2 * MDS


@pytest.mark.parametrize(("name", "kept"), [("new_reno", 40), ("cubic", 68)])
def test_marks_shrink_the_window_once_per_round_trip(name: str, kept: int) -> None:
    """RFC 9002 sections 7.1 and 7.3.2; RFC 8511 section 3 keeps 0.85 of a window that grows as a cubic."""
    congestion = controller(name)
    now = run_rounds(congestion, 3, 0)
    for sent_time in (now - RTT, now - 1):
        congestion.on_congestion_event(CongestionEvent(now, sent_time, 0, 70 * MDS, False, (), True))
    assert congestion.congestion_window == kept * MDS


@pytest.mark.parametrize("name", ["new_reno", "cubic"])
@pytest.mark.parametrize("hystart", [True, False])
def test_slow_start_ends_where_the_round_trip_grows_if_it_is_asked_to(name: str, hystart: bool) -> None:
    """RFC 9406, five rounds later."""
    congestion = controller(name, hystart=hystart)
    now = run_rounds(congestion, 3, 0)
    for number in range(7):
        sent_time = now + number * 2 * RTT
        for first in range(0, 40, 2):
            acked = [sent_packet(first, sent_time), sent_packet(first + 1, sent_time)]
            flight = Flight(sent_time + 2 * RTT, congestion.congestion_window, RTT, RTT, 2 * RTT, False)
            congestion.on_packets_acked(acked, flight)
    assert (congestion.ssthresh is not None) == hystart


def test_new_reno_halves_the_window() -> None:
    """RFC 9002 section 7.3.2, appendix B.1: kLossReductionFactor is 0.5."""
    congestion = controller("new_reno")
    now = run_rounds(congestion, 3, 0)
    lose(congestion, sent_time=now - 1, now=now)
    assert (congestion.congestion_window, congestion.ssthresh) == (40 * MDS, 40 * MDS)


def test_new_reno_grows_by_one_datagram_per_window_acknowledged() -> None:
    """RFC 9002 section 7.3.3: at most one max_datagram_size for each congestion_window acknowledged."""
    congestion = controller("new_reno")
    now = run_rounds(congestion, 1, 0)
    lose(congestion, sent_time=now - 1, now=now)
    windows = []
    for number in range(1, 6):
        run_rounds(congestion, 1, now + number * RTT)
        windows.append(congestion.congestion_window // MDS)
    assert windows == [11, 12, 13, 14, 15]


def test_new_reno_loses_nothing_to_rounding_small_acknowledgements() -> None:
    congestion = controller("new_reno")
    lose(congestion, sent_time=0, now=0)
    window = congestion.congestion_window
    for number in range(window // 8):
        flight = Flight(ms(number + 1), window, RTT, RTT, RTT, False)
        congestion.on_packets_acked([sent_packet(number, ms(number) + 1, size=8)], flight)
    assert congestion.congestion_window == window + MDS


def test_the_fixed_window_is_what_was_asked_for_and_stays() -> None:
    congestion = controller("fixed", window=100_000)
    run_rounds(congestion, 5, 0)
    lose(congestion, sent_time=0, now=1, is_persistent=True)
    assert congestion.congestion_window == 100_000


def test_the_fixed_window_holds_two_datagrams_at_least() -> None:
    assert controller("fixed", window=1).congestion_window == 2 * MDS


def test_a_window_needs_a_unit() -> None:
    with pytest.raises(ConfigError) as caught:
        CONTROLLERS.spec({"model": "fixed", "window": 64_000}, "transport.congestion")
    assert caught.value.key == "transport.congestion.window"


def test_the_datagram_size_is_not_for_a_scenario_to_choose() -> None:
    with pytest.raises(ConfigError):
        CONTROLLERS.spec({"model": "cubic", "max_datagram_size": 1200}, "transport.congestion")
