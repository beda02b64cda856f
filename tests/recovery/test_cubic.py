"""RFC 9438, with its formulas worked out in exact fractions beside the controller's integers."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.recovery.congestion import CongestionController, CongestionEvent, Flight
from rudp_smtp.recovery.congestion.cubic import cube_root
from rudp_smtp.units import SECOND
from tests.recovery.builders import MDS, controller, ms, sent_packet

RTT = ms(100)
STEP = ms(5)  # an acknowledgement each


def window_of(packets: int) -> CongestionController:
    """A controller in slow start with this window."""
    congestion = controller("cubic")
    flight = Flight(RTT, packets * MDS, RTT, RTT, RTT, False)
    congestion.on_packets_acked([sent_packet(number, 0) for number in range(packets - 10)], flight)
    assert congestion.congestion_window == packets * MDS
    return congestion


def lose(congestion: CongestionController, now: int) -> None:
    congestion.on_congestion_event(CongestionEvent(now, now, MDS, congestion.congestion_window, False))


def acknowledge_until(congestion: CongestionController, start: int, stop: int, *, rtt: int = RTT) -> list[int]:
    """Acknowledge whole windows at an even pace; the window after each step."""
    windows = []
    carry = 0
    for now in range(start + STEP, stop + 1, STEP):
        carry += congestion.congestion_window * STEP
        count, carry = carry // (rtt * MDS), carry % (rtt * MDS)
        acked = [sent_packet(number, max(now - rtt, start + 1)) for number in range(count)]
        if acked:
            congestion.on_packets_acked(acked, Flight(now, congestion.congestion_window, rtt, rtt, rtt, False))
        windows.append(congestion.congestion_window)
    return windows


@given(st.integers(0, 10**60))
def test_the_integer_cube_root_is_exact(value: int) -> None:
    root = cube_root(value)
    assert root**3 <= value < (root + 1) ** 3


@pytest.mark.parametrize("root", [1, 2, 3, 10**9, 2**40, 12345678901234567890])
def test_the_cube_root_of_a_cube_is_its_root(root: int) -> None:
    assert cube_root(root**3) == root
    assert cube_root(root**3 - 1) == root - 1


def test_a_loss_leaves_seven_tenths_of_the_window() -> None:
    """RFC 9438 section 4.6: beta_cubic is 0.7."""
    congestion = window_of(100)
    lose(congestion, SECOND)
    assert (congestion.congestion_window, congestion.ssthresh) == (70 * MDS, 70 * MDS)


def test_the_window_is_back_at_its_old_size_after_k() -> None:
    """RFC 9438 section 4.2, figure 2: K = cbrt((W_max - cwnd_epoch) / C), here cbrt(300 / 0.4) = 9.09 s."""
    congestion = window_of(1_000)
    lose(congestion, SECOND)
    k = round(float(Fraction(300) / Fraction(2, 5)) ** (1 / 3) * SECOND)
    windows = acknowledge_until(congestion, SECOND, SECOND + k - RTT)
    assert windows[-1] == pytest.approx(1_000 * MDS, rel=0.001)


def test_the_window_is_concave_before_its_old_size_and_convex_after() -> None:
    """RFC 9438 sections 4.4 and 4.5."""
    congestion = window_of(1_000)
    lose(congestion, SECOND)
    windows = acknowledge_until(congestion, SECOND, 17 * SECOND)
    per_second = [windows[index] for index in range(199, len(windows), 200)]
    growth = [later - earlier for earlier, later in pairwise(per_second)]
    plateau = growth.index(min(growth))
    assert 6 <= plateau <= 9
    assert growth[:plateau] == sorted(growth[:plateau], reverse=True)
    assert growth[plateau:] == sorted(growth[plateau:])


@pytest.mark.parametrize("elapsed", [1, 4, 8, 12])
def test_the_window_follows_the_cubic_one_round_trip_ahead(elapsed: int) -> None:
    """RFC 9438 section 4.2, figure 1: W_cubic(t) = C * (t - K)^3 + W_max; the target is W_cubic(t + RTT)."""
    congestion = window_of(1_000)
    lose(congestion, SECOND)
    windows = acknowledge_until(congestion, SECOND, SECOND + elapsed * SECOND)
    k = float(Fraction(300) / Fraction(2, 5)) ** (1 / 3)
    low, high = (0.4 * (elapsed + ahead - k) ** 3 + 1_000 for ahead in (-0.2, 0.2))
    assert low <= windows[-1] / MDS <= high


def test_growth_is_at_most_half_a_window_per_round_trip() -> None:
    """RFC 9438 section 4.2: target is at most 1.5 * cwnd."""
    congestion = window_of(20)
    lose(congestion, SECOND)
    acknowledge_until(congestion, SECOND, 2 * SECOND)
    before = congestion.congestion_window
    acked = [sent_packet(number, 100 * SECOND) for number in range(before // MDS)]
    congestion.on_packets_acked(acked[:1], Flight(100 * SECOND, before, RTT, RTT, RTT, False))
    later = 200 * SECOND  # the cubic is far above any window by now
    congestion.on_packets_acked(acked, Flight(later, before, RTT, RTT, RTT, False))
    assert before < congestion.congestion_window <= before * 3 // 2 + 2 * MDS


def test_a_small_window_grows_as_renos_would() -> None:
    """RFC 9438 section 4.3: on short round trips W_est is above the cubic, growing by alpha = 9/17 per round trip."""
    congestion = window_of(20)
    lose(congestion, SECOND)
    rtt = ms(10)
    windows = acknowledge_until(congestion, SECOND, SECOND + 10 * rtt, rtt=rtt)
    assert windows[-1] / MDS == pytest.approx(14 + 10 * 9 / 17, abs=0.6)


def test_renos_estimate_grows_by_a_whole_segment_once_it_is_where_the_window_was() -> None:
    """RFC 9438 section 4.3: alpha_cubic is 1 when W_est >= cwnd_prior."""
    congestion = window_of(20)
    lose(congestion, SECOND)
    rtt = ms(10)
    windows = acknowledge_until(congestion, SECOND, SECOND + 40 * rtt, rtt=rtt)
    above = [window for window in windows if window >= 20 * MDS]
    per_round = rtt // STEP
    assert (above[6 * per_round] - above[per_round]) / MDS == pytest.approx(5, abs=0.6)


@pytest.mark.parametrize(("fast_convergence", "w_max"), [(True, Fraction(17, 20) * 70), (False, Fraction(70))])
def test_a_second_loss_below_the_old_size_makes_room_for_others(fast_convergence: bool, w_max: Fraction) -> None:
    """RFC 9438 section 4.7: W_max = cwnd * (1 + beta) / 2. K then shows which plateau the window heads for."""
    congestion = controller("cubic", fast_convergence=fast_convergence)
    flight = Flight(RTT, 100 * MDS, RTT, RTT, RTT, False)
    congestion.on_packets_acked([sent_packet(number, 0) for number in range(90)], flight)
    lose(congestion, SECOND)
    lose(congestion, 2 * SECOND)
    assert congestion.congestion_window == 49 * MDS
    k = round(float((w_max - 49) / Fraction(2, 5)) ** (1 / 3) * SECOND)
    rtt = SECOND  # slow enough for the cubic to be above Reno's estimate
    windows = acknowledge_until(congestion, 2 * SECOND, 2 * SECOND + k - STEP, rtt=rtt)
    assert windows[-1] / MDS == pytest.approx(float(w_max), rel=0.06)


def test_time_does_not_advance_while_the_window_is_not_filled() -> None:
    """RFC 9438 section 5.8: otherwise the window would jump when the application goes on."""
    used, paused = window_of(1_000), window_of(1_000)
    for congestion in (used, paused):
        lose(congestion, SECOND)
        acknowledge_until(congestion, SECOND, 2 * SECOND)
    idle = 30 * SECOND
    flight = Flight(2 * SECOND, MDS, RTT, RTT, RTT, True)
    paused.on_packets_acked([sent_packet(0, 2 * SECOND - RTT)], flight)
    used_windows = acknowledge_until(used, 2 * SECOND, 4 * SECOND)
    paused_windows = acknowledge_until(paused, 2 * SECOND + idle, 4 * SECOND + idle)
    assert paused_windows[-1] == pytest.approx(used_windows[-1], rel=0.01)


def test_time_does_not_advance_while_nothing_is_in_flight() -> None:
    """RFC 9438 section 5.8, when no acknowledgement said that the window was not filled."""
    used, paused = window_of(1_000), window_of(1_000)
    for congestion in (used, paused):
        lose(congestion, SECOND)
        acknowledge_until(congestion, SECOND, 2 * SECOND)
    idle = 30 * SECOND
    used_windows = acknowledge_until(used, 2 * SECOND, 4 * SECOND)
    paused_windows = acknowledge_until(paused, 2 * SECOND + idle, 4 * SECOND + idle)
    assert paused_windows[-1] == pytest.approx(used_windows[-1], rel=0.02)


def test_after_a_time_out_the_window_grows_from_where_slow_start_ends() -> None:
    """RFC 9438 section 4.8: K is 0 and W_max is the window at the start of the stage."""
    congestion = window_of(100)
    congestion.on_congestion_event(CongestionEvent(SECOND, SECOND, MDS, 0, True))
    assert congestion.congestion_window == 2 * MDS
    assert congestion.ssthresh == 70 * MDS
    acked = [sent_packet(number, SECOND + 1) for number in range(68)]
    congestion.on_packets_acked(acked, Flight(2 * SECOND, 2 * MDS, RTT, RTT, RTT, False))
    windows = acknowledge_until(congestion, 2 * SECOND, 10 * SECOND)
    low, high = (0.4 * elapsed**3 + 70 for elapsed in (7.8, 8.2))  # by then far above Reno's estimate
    assert low <= windows[-1] / MDS <= high


def test_no_controller_state_depends_on_floats() -> None:
    """DETERMINISM rule 1: the same history gives the same window to the byte."""
    windows = []
    for _ in range(2):
        congestion = window_of(333)
        lose(congestion, SECOND)
        windows.append(acknowledge_until(congestion, SECOND, 20 * SECOND))
    assert windows[0] == windows[1]
    assert all(type(window) is int for window in windows[0])
