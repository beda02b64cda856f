"""How often things are repeated: transmissions of a packet, turns of a dialogue, losses in a burst."""

from collections import Counter
from itertools import groupby

import pytest

from rudp_smtp.experiment.statistics import student_interval
from rudp_smtp.link.config import DelayConfig, LinkConfig
from rudp_smtp.registry import Spec
from rudp_smtp.trace import Fact, LinkFate, PacketAcked, PacketSent
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE
from rudp_smtp.workload import WORKLOADS
from tests.link.inference import is_geometric
from tests.theory.rig import (
    CONFIDENCE,
    SEGMENT_SIZE,
    arq,
    holds,
    interval_of,
    is_tight,
    line,
    random_loss,
    simulate,
    way_back,
)

RTT = 40 * MILLISECOND
FOREVER = 10_000_000 * MILLISECOND


class Transmissions:
    """How often the client sent each segment."""

    def __init__(self) -> None:
        self.of: Counter[tuple[int, int, int]] = Counter()

    def emit(self, fact: Fact) -> None:
        if isinstance(fact, PacketSent) and fact.host == "client":
            self.of.update(fact.streams)


@pytest.mark.parametrize("name", ["stop_and_wait", "selective_repeat"])
def test_the_number_of_transmissions_is_geometric(name: str) -> None:
    p, a, segments = 0.3, 2, 3000
    sink = Transmissions()
    bulk = WORKLOADS.build(Spec("bulk", (("size", segments * SEGMENT_SIZE),)))
    simulate(arq(name, a), bulk, line(a, random_loss(p)), way_back(a), seed=1, until=FOREVER, sink=sink)
    counts = list(sink.of.values())
    assert len(counts) == segments
    assert is_geometric(counts, 1 - p)
    interval = student_interval(counts, CONFIDENCE)
    assert holds(interval, 1 / (1 - p))
    assert is_tight(interval, 1 / (1 - p), 0.03)


class Bursts:
    """The fate of each packet on the way out, in order."""

    def __init__(self) -> None:
        self.fates: list[str] = []

    def emit(self, fact: Fact) -> None:
        if isinstance(fact, LinkFate) and fact.link == "forward":
            self.fates.append(fact.fate)


def test_gilbert_elliott_bursts_are_geometric_with_mean_1_over_r() -> None:
    """As frames of a transfer meet them, one after another on a busy line."""
    p, r, a = 0.05, 0.25, 2
    sink = Bursts()
    loss = Spec("gemodel", (("p", round(p * PROBABILITY_ONE)), ("r", round(r * PROBABILITY_ONE))))
    bulk = WORKLOADS.build(Spec("bulk", (("size", 12_000 * SEGMENT_SIZE),)))
    simulate(arq("selective_repeat", a), bulk, line(a, loss), way_back(a), seed=1, until=FOREVER, sink=sink)
    bursts = [len(list(group)) for fate, group in groupby(sink.fates) if fate == "lost"]
    assert is_geometric(bursts, r)
    interval = student_interval(bursts, CONFIDENCE)
    assert holds(interval, 1 / r)
    assert is_tight(interval, 1 / r, 0.12)


# A dialogue over a path of 40 ms there and back, without a rate; a loss is noticed after exactly that.

DETECTION = Spec("fixed", (("interval", RTT + 1),))  # a nanosecond, so that an answer in time is in time


def path(p: float) -> LinkConfig:
    return LinkConfig(delay=DelayConfig(time=RTT // 2), loss=random_loss(p))


class Exchanges:
    """When the client sent its first frame with data, and when its last was acknowledged."""

    def __init__(self) -> None:
        self.started_at: int | None = None
        self.ended_at = 0

    def emit(self, fact: Fact) -> None:
        if isinstance(fact, PacketSent) and fact.host == "client" and fact.streams and self.started_at is None:
            self.started_at = fact.time
        elif isinstance(fact, PacketAcked) and fact.host == "client":
            self.ended_at = fact.time


@pytest.mark.parametrize("p", [0.01, 0.1, 0.3])
def test_a_dialogue_repeated_by_the_asker_takes_k_rtt_over_1_minus_p_squared(p: float) -> None:
    """The question is a frame, the answer its acknowledgement, and who asked asks again if either was lost: a turn is
    one success in tries of (1 - p)**2. Stop-and-wait is that dialogue."""
    turns = 100
    transport = Spec("stop_and_wait", (("segment_size", 48), ("timer", DETECTION)))
    bulk = WORKLOADS.build(Spec("bulk", (("size", turns * 48),)))

    def round_trips(seed: int) -> float:
        sink = Exchanges()
        simulate(transport, bulk, path(p), path(p), seed=seed, until=FOREVER, sink=sink)
        assert sink.started_at is not None
        # The last turn is a goodbye.
        return (sink.ended_at - sink.started_at) / RTT / (turns + 1)

    interval = interval_of(round_trips, runs=40)
    assert holds(interval, 1 / (1 - p) ** 2)
    assert is_tight(interval, 1 / (1 - p) ** 2, 0.05)


@pytest.mark.parametrize("p", [0.01, 0.1, 0.3])
def test_a_dialogue_repeated_by_either_side_takes_k_rtt_times_1_plus_p_over_1_minus_p(p: float) -> None:
    """Who received a question repeats the answer by itself: a turn is the tries of the one and then of the other, each
    1/(1 - p) in the mean, and each try but the first costs a round trip. That is 1/(1 - p)**2 less p**2/(1 - p)**2."""
    turns = 20
    transport = Spec("stop_and_wait", (("timer", DETECTION),))
    workload = WORKLOADS.build(Spec("request_response", (("turns", turns),)))

    def round_trips(seed: int) -> float:
        stage = simulate(transport, workload, path(p), path(p), seed=seed, until=FOREVER)
        report = workload.report(stage)
        assert report.finished_at is not None
        return (report.finished_at - report.started_at) / RTT / turns

    interval = interval_of(round_trips, runs=200)
    assert holds(interval, (1 + p) / (1 - p))
    assert is_tight(interval, (1 + p) / (1 - p), 0.05)
