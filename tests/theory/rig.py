"""A line of the textbooks, simulated: frames of one size, propagation `a` times as long as serialisation, loss p.

Acknowledgements take no time to serialise and are never lost. Each replication is a run with a seed of its own.
"""

from collections.abc import Callable
from fractions import Fraction

from rudp_smtp.datagram import Address
from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.sim import Simulator
from rudp_smtp.experiment.statistics import Interval, student_interval
from rudp_smtp.link.config import DelayConfig, LinkConfig, RateConfig
from rudp_smtp.link.link import Link
from rudp_smtp.registry import Spec
from rudp_smtp.trace import Fact, PacketAcked, Sink
from rudp_smtp.transport import TRANSPORTS
from rudp_smtp.transport.arq import frame, segments
from rudp_smtp.units import MICROSECOND, PROBABILITY_ONE
from rudp_smtp.workload import WORKLOADS, Stage, Workload

CONFIDENCE = Fraction(99, 100)
FIRST_SEED = 1000
FRAME_SIZE = 1000  # octets on the line
SEGMENT_SIZE = FRAME_SIZE - frame.OVERHEAD - segments.OVERHEAD
LINE_RATE = 80_000_000
FRAME_TIME = 100 * MICROSECOND  # at that rate
EVENTS_MAX = 100_000_000


def random_loss(p: float) -> Spec:
    return Spec("random", (("p", round(p * PROBABILITY_ONE)),))


def line(a: int, loss: Spec | None = None) -> LinkConfig:
    """For frames; no network headers, so that they are as long as they say. A lost one has taken its time."""
    return LinkConfig(
        delay=DelayConfig(time=a * FRAME_TIME),
        rate=RateConfig(value=LINE_RATE),
        loss=loss,
        where="egress",
        header_bytes=0,
    )


def way_back(a: int) -> LinkConfig:
    """For acknowledgements: a nanosecond shorter, so that one that is in time comes before the timer expires."""
    return LinkConfig(delay=DelayConfig(time=a * FRAME_TIME - 1), header_bytes=0)


def arq(name: str, a: int, **parameters: object) -> Spec:
    """A protocol that knows its line, with the ideal timer: it expires when an acknowledgement would have come."""
    timer = Spec("fixed", (("interval", (1 + 2 * a) * FRAME_TIME),))
    given = {"timer": timer, "segment_size": SEGMENT_SIZE, "line_rate": LINE_RATE, **parameters}
    return Spec(name, tuple(sorted(given.items())))


def simulate(
    transport: Spec,
    workload: Workload,
    forward: LinkConfig,
    reverse: LinkConfig,
    *,
    seed: int,
    until: int,
    sink: Sink | None = None,
) -> Stage:
    draws = DrawKey(seed)
    plugin = TRANSPORTS.build(transport)
    client, server = (
        plugin.endpoint(host=host, accepts=host == "server", draws=draws.derive(host), sink=sink)
        for host in ("client", "server")
    )
    stage = workload.stage(client, server, draws.derive("workload"))
    links: dict[tuple[Address, Address], Link] = {
        ("client", "server"): Link(forward, name="forward", draws=draws.derive("link"), sink=sink),
        ("server", "client"): Link(reverse, name="reverse", draws=draws.derive("link"), sink=sink),
    }
    Simulator({"client": stage.client, "server": stage.server}, links).run(until, EVENTS_MAX)
    return stage


class AckCounter:
    """How many of the client's frames were acknowledged after a moment, for the first time each."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.count = 0

    def emit(self, fact: Fact) -> None:
        if isinstance(fact, PacketAcked) and fact.host == "client" and fact.time > self.since:
            self.count += 1


def utilisation(transport: Spec, a: int, p: float, *, frames: int, seed: int) -> float:
    """The share of a stretch of `frames` frame times in which the line carried a frame that counted.

    The stretch begins when the process has forgotten its start, and the transfer has no end.
    """
    warm_up = 20 * (1 + 2 * a) * FRAME_TIME
    counter = AckCounter(warm_up)
    endless = WORKLOADS.build(Spec("bulk", (("size", 1 << 50),)))
    until = warm_up + frames * FRAME_TIME
    simulate(transport, endless, line(a, random_loss(p)), way_back(a), seed=seed, until=until, sink=counter)
    return counter.count / frames


def interval_of(measure: Callable[[int], float], runs: int) -> Interval:
    """Student's interval of the mean over runs, each with a seed of its own.

    Of a hundred such intervals one misses a formula that is right. More runs settle that, not a wider bound.
    """
    return student_interval([measure(seed) for seed in range(FIRST_SEED, FIRST_SEED + runs)], CONFIDENCE)


def holds(interval: Interval, value: float) -> bool:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= value <= interval.high


def is_tight(interval: Interval, value: float, share: float) -> bool:
    """Whether the interval is no wider, each way, than this share of the value: a wide one would hold anything."""
    assert interval.low is not None
    assert interval.high is not None
    return interval.high - interval.low <= 2 * share * value
