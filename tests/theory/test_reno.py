"""NewReno under light loss against the two formulas there are for it. Rates are in packets per round trip.

Mathis, Semke, Mahdavi and Ott (1997): C/sqrt(p), where C is sqrt(3/2) if every 1/p-th packet is lost and 1.31 if loss
is random (their table 1, every packet acknowledged). Its model has no round trip in which the window does not grow.
Ours, and RFC 9002's, has: after each loss one until it is detected, one of recovery (section 7.3.2), half of one in
which nothing may be sent because more is in flight than the window allows, and with windows of whole packets up to
one and a half more. At four round trips of half the largest window a cycle, the rate is lower by 8/3 sqrt(3p/2), to
first order: a cycle of 1/p = 3/8 W**2 + 4 W/2 packets takes W/2 + 4 round trips. So the measured rate must lie
between the formula less that and the formula itself, and come nearer as p falls.

Padhye, Firoiu, Towsley and Kurose (2000), PFTK, equation 32, adds time-outs. Its model loses all that follows a lost
packet in its round; with independent losses fewer windows end in a time-out, so from p = 0.1 on it is a lower bound, as
Mathis is an upper one. Where its time-outs are few it holds. Compared with a detector that needs three later packets,
as duplicate ACKs do, and RFC 6298's timer with T0 = 4 round trips, which returns to the smallest window.
"""

from math import sqrt

import pytest

from rudp_smtp.link.config import DelayConfig, LinkConfig
from rudp_smtp.registry import Spec
from rudp_smtp.trace import Fact, PacketSent
from rudp_smtp.units import MILLISECOND
from rudp_smtp.workload import WORKLOADS
from tests.theory.rig import interval_of, is_tight, random_loss, simulate

RTT = 40 * MILLISECOND
TIMEOUT = 4  # round trips
WARM_UP = 100  # round trips: slow start and the first cycles, where losses are not rarer than 1 %
SETTLED = 10  # cycles: of what slow start left, each halves the difference
C_PERIODIC, C_RANDOM = sqrt(3 / 2), 1.31

RENO = {
    "congestion": Spec("new_reno"),
    "ack": Spec("immediate"),  # b = 1
    "ack_frequency": False,
    "pacing": False,
    "timer": Spec("rfc6298", (("minimum", TIMEOUT * RTT),)),
}


class SentCounter:
    """How many packets with data the client sent after a moment."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.count = 0

    def emit(self, fact: Fact) -> None:
        if isinstance(fact, PacketSent) and fact.host == "client" and fact.streams and fact.time > self.since:
            self.count += 1


def rate(loss: Spec, round_trips: int, *, seed: int, detector: str = "rfc9002", warm_up: int = WARM_UP) -> float:
    """Packets per round trip of an endless transfer over a path that has all the bandwidth there is."""
    transport = Spec("rudp", tuple(sorted((RENO | {"loss_detection": Spec(detector)}).items())))
    endless = WORKLOADS.build(Spec("bulk", (("size", 1 << 50),)))
    delay = DelayConfig(time=RTT // 2)
    counter = SentCounter(warm_up * RTT)
    until = (warm_up + round_trips) * RTT
    simulate(transport, endless, LinkConfig(delay=delay, loss=loss), LinkConfig(delay=delay), seed=seed, until=until,
             sink=counter)  # fmt: skip
    return counter.count / round_trips


def mathis_low(c: float, p: float) -> float:
    """What is left if each cycle has four round trips that the formula leaves out."""
    return c / sqrt(p) * (1 - 8 / 3 * sqrt(3 * p / 2))


def pftk(p: float) -> float:
    """Equation 32 with b = 1 and no limit by the receiver's window."""
    q = 1 - p
    window = 1 + sqrt(8 * q / (3 * p) + 1)
    timeout_share = min(1.0, (1 - q**3) * (1 + q**3 * (1 - q ** (window - 3))) / (1 - q**window))
    backed_off = 1 + p + 2 * p**2 + 4 * p**3 + 8 * p**4 + 16 * p**5 + 32 * p**6
    packets = q / p + window + timeout_share / q
    return float(packets / (window / 2 + 1 + timeout_share * backed_off * TIMEOUT / q))


def periodic_shortfall(n: int, cycles: int) -> float:
    """How far the rate stays below Mathis's, every n-th packet lost; whole cycles, so that none counts in part."""
    cycle = round(sqrt(2 * n / 3) + 3)
    measured = rate(Spec("every_nth", (("n", n),)), cycles * cycle, seed=1, warm_up=SETTLED * cycle)
    p = 1 / n
    assert mathis_low(C_PERIODIC, p) <= measured <= C_PERIODIC / sqrt(p)
    return 1 - measured * sqrt(p) / C_PERIODIC


def test_with_every_nth_packet_lost_the_rate_approaches_mathis_from_below() -> None:
    assert periodic_shortfall(1000, cycles=20) < periodic_shortfall(250, cycles=40)


@pytest.mark.parametrize(
    ("p", "runs"),
    [(0.03, 12), pytest.param(0.01, 30, marks=pytest.mark.sweep), pytest.param(0.02, 30, marks=pytest.mark.sweep)],
)
def test_where_time_outs_are_few_pftk_holds_within_a_tenth(p: float, runs: int) -> None:
    interval = interval_of(lambda seed: rate(random_loss(p), 400, seed=seed, detector="packet_threshold"), runs)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low <= 1.1 * pftk(p)
    assert interval.high >= pftk(p) / 1.1
    assert is_tight(interval, pftk(p), 0.1)


def test_where_time_outs_matter_the_rate_lies_between_pftk_and_mathis() -> None:
    p = 0.1
    interval = interval_of(lambda seed: rate(random_loss(p), 400, seed=seed, detector="packet_threshold"), runs=12)
    assert interval.low is not None
    assert interval.high is not None
    assert pftk(p) < interval.low
    assert interval.high < C_PERIODIC / sqrt(p)


@pytest.mark.sweep
@pytest.mark.parametrize("p", [0.001, 0.003])
def test_with_random_loss_the_rate_approaches_its_own_constant_from_below(p: float) -> None:
    formula = C_RANDOM / sqrt(p)
    cycle = round(sqrt(2 / (3 * p)) + 3)
    interval = interval_of(lambda seed: rate(random_loss(p), 60 * cycle, seed=seed, warm_up=SETTLED * cycle), runs=30)
    assert interval.low is not None
    assert interval.high is not None
    assert mathis_low(C_RANDOM, p) <= interval.low <= interval.high <= formula
    assert is_tight(interval, formula, 0.04)


@pytest.mark.sweep
def test_with_ever_rarer_periodic_loss_nothing_but_the_left_out_round_trips_remains() -> None:
    shortfalls = [periodic_shortfall(n, cycles=20) for n in (300, 1000, 3000, 10_000)]
    assert shortfalls == sorted(shortfalls, reverse=True)
    assert shortfalls[-1] < 0.035


def test_the_formulas_agree_where_there_are_no_time_outs() -> None:
    assert holds_within(pftk(1e-6), C_PERIODIC / sqrt(1e-6), 0.01)


def holds_within(value: float, other: float, share: float) -> bool:
    return abs(value - other) <= share * other
