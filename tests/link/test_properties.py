"""What holds for every link there can be, under any traffic."""

from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import CorruptConfig, DelayConfig, LinkConfig, RateConfig, ReorderConfig, SlotConfig
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, parse_probability
from tests.link.traffic import Traffic, datagram, drain

PROBABILITIES = st.sampled_from([0, *map(parse_probability, ("5%", "30%", "70%")), PROBABILITY_ONE])
TIMES = st.integers(0, 3 * MILLISECOND)
LOSSES = st.one_of(
    st.none(),
    PROBABILITIES.map(lambda p: Spec("random", (("p", p),))),
    st.tuples(PROBABILITIES, PROBABILITIES).map(lambda pair: Spec("gemodel", (("p", pair[0]), ("r", pair[1])))),
    st.lists(st.integers(0, 40), max_size=8).map(lambda packets: Spec("list", (("packets", tuple(packets)),))),
)
QUEUES = st.one_of(
    st.integers(1, 8).map(lambda packets: Spec("droptail", (("packets", packets),))),
    st.integers(1, 5000).map(lambda limit: Spec("droptail", (("limit", limit),))),
)
RATES = st.one_of(
    st.none(),
    st.builds(RateConfig, value=st.integers(100_000, 50_000_000), packet_overhead=st.integers(-40, 40)),
    st.builds(RateConfig, value=st.just(5_000_000), cell_size=st.just(48), cell_overhead=st.integers(-40, 40)),
    st.lists(st.integers(0, 9), min_size=1, max_size=9).map(lambda t: RateConfig(trace=(*sorted(t), 10))),
)
SLOTS = st.one_of(
    st.none(),
    st.builds(
        SlotConfig,
        min_delay=TIMES,
        max_delay=TIMES.map(lambda time: time + 3 * MILLISECOND),
        packets=st.one_of(st.none(), st.integers(1, 4)),
        bytes=st.one_of(st.none(), st.integers(1, 4000)),
    ),
)
DELAYS = st.builds(
    DelayConfig,
    time=TIMES.map(lambda time: time + 1),
    jitter=st.one_of(st.just(0), TIMES),
    distribution=st.sampled_from([Spec("uniform"), Spec("normal")]),
    keep_order=st.booleans(),
)
REORDERS = st.one_of(
    st.none(),
    st.builds(ReorderConfig, probability=PROBABILITIES, gap=st.integers(1, 4), hold=st.one_of(st.none(), TIMES)),
)
CONFIGS = st.builds(
    LinkConfig,
    loss=LOSSES,
    where=st.sampled_from(["ingress", "egress"]),
    duplicate=PROBABILITIES,
    corrupt=st.one_of(st.none(), st.builds(CorruptConfig, probability=PROBABILITIES, bits=st.integers(1, 3))),
    queue=QUEUES,
    rate=RATES,
    slot=SLOTS,
    delay=DELAYS,
    reorder=REORDERS,
)
# (pause before it, length) of each datagram
SCHEDULES = st.lists(st.tuples(st.integers(0, 2 * MILLISECOND), st.integers(4, 1400)), max_size=40)
SEEDS = st.integers(0, 2**32)


def sent(config: LinkConfig, schedule: list[tuple[int, int]], seed: int) -> Traffic:
    """The traffic at the moment the last datagram entered."""
    traffic = Traffic(config, seed=seed)
    times = accumulate(pause for pause, _ in schedule)
    for number, (now, (_, length)) in enumerate(zip(times, schedule, strict=True)):
        traffic.send(datagram(number, length), now)
    return traffic


def assert_conserved(traffic: Traffic) -> None:
    stats = traffic.link.stats
    ended = stats.packets_delivered + stats.packets_lost + stats.packets_queue_dropped
    assert stats.packets_entered + stats.packets_duplicated == ended + traffic.link.in_transit
    if traffic.link.in_transit == 0:
        octets = stats.octets_delivered + stats.octets_lost + stats.octets_queue_dropped
        assert stats.octets_entered + stats.octets_duplicated == octets


@given(config=CONFIGS, schedule=SCHEDULES, seed=SEEDS)
@settings(deadline=None)
def test_no_packet_appears_or_vanishes(config: LinkConfig, schedule: list[tuple[int, int]], seed: int) -> None:
    traffic = sent(config, schedule, seed)
    assert_conserved(traffic)
    traffic.run()
    assert_conserved(traffic)
    assert traffic.link.in_transit == 0
    ends = [len(traffic.fates(fate)) for fate in ("passed", "lost", "queue_full")]
    assert sum(ends) == len(schedule) + traffic.link.stats.packets_duplicated
    assert ends[0] == len(traffic.arrivals)


@given(config=CONFIGS, schedule=SCHEDULES, seed=SEEDS)
@settings(deadline=None)
def test_the_deadline_is_the_arrival_and_never_late(
    config: LinkConfig, schedule: list[tuple[int, int]], seed: int
) -> None:
    traffic = sent(config, schedule, seed)
    link = traffic.link
    before = -1
    while (deadline := link.next_timeout()) is not None:
        assert deadline > before
        for _ in drain(link, deadline):
            assert link.stats.delivered_last == deadline
        before = deadline


@given(config=CONFIGS, schedule=SCHEDULES, seed=SEEDS, polls=st.lists(st.integers(1, MILLISECOND), max_size=30))
@settings(deadline=None)
def test_asking_more_often_changes_nothing(
    config: LinkConfig, schedule: list[tuple[int, int]], seed: int, polls: list[int]
) -> None:
    quiet, busy = sent(config, schedule, seed), sent(config, schedule, seed)
    end = sum(pause for pause, _ in schedule)
    polled: list[bytes] = []
    for now in accumulate(polls, initial=end):
        polled.extend(drain(busy.link, now))
        busy.link.next_timeout()
    busy.run()
    already = len(busy.arrivals)
    quiet.run()
    heard = [data for _, data in quiet.arrivals]
    everything = [data for _, data in busy.arrivals]
    first = [data for _, data in sent(config, schedule, seed).arrivals]
    assert sorted(heard) == sorted(everything + polled)
    assert heard == first + polled + everything[len(first) :]
    assert already == len(everything)
    assert quiet.link.stats == busy.link.stats


@given(config=CONFIGS, schedule=SCHEDULES, seed=SEEDS)
@settings(deadline=None)
def test_no_packet_arrives_before_it_can(config: LinkConfig, schedule: list[tuple[int, int]], seed: int) -> None:
    plain = LinkConfig(rate=config.rate, delay=DelayConfig(time=config.delay.time))
    traffic = sent(plain, schedule, seed)
    traffic.run()
    times = list(accumulate(pause for pause, _ in schedule))
    for number, arrival in zip(traffic.numbers(), traffic.times(), strict=True):
        assert arrival >= times[number] + config.delay.time


@given(config=CONFIGS, schedule=SCHEDULES, seed=SEEDS)
@settings(deadline=None)
def test_order_is_kept_where_it_is_asked_for(config: LinkConfig, schedule: list[tuple[int, int]], seed: int) -> None:
    delay = DelayConfig(
        time=config.delay.time, jitter=config.delay.jitter, distribution=config.delay.distribution, keep_order=True
    )
    traffic = sent(LinkConfig(loss=config.loss, where=config.where, rate=config.rate, delay=delay), schedule, seed)
    traffic.run()
    assert traffic.numbers() == sorted(traffic.numbers())
    assert traffic.times() == sorted(traffic.times())


@given(config=CONFIGS, schedule=SCHEDULES, other=SCHEDULES, seed=SEEDS)
@settings(deadline=None)
def test_a_fate_depends_on_neither_sizes_nor_times(
    config: LinkConfig, schedule: list[tuple[int, int]], other: list[tuple[int, int]], seed: int
) -> None:
    """With room in the queue: what a full queue drops cannot help depending on them."""
    roomy = LinkConfig(
        loss=config.loss,
        where=config.where,
        duplicate=config.duplicate,
        corrupt=config.corrupt,
        rate=config.rate,
        delay=config.delay,
        reorder=config.reorder,
    )
    one, two = sent(roomy, schedule, seed), sent(roomy, other, seed)
    one.run()
    two.run()
    common = min(len(schedule), len(other))
    for fate in ("lost", "duplicated", "corrupted", "reordered"):
        assert [i for i in sorted(one.fates(fate)) if i < common] == [i for i in sorted(two.fates(fate)) if i < common]


def test_links_of_another_name_or_seed_decide_otherwise() -> None:
    config = LinkConfig(loss=Spec("random", (("p", parse_probability("50%")),)))
    fates = []
    for seed, name in ((1, "forward"), (1, "forward"), (1, "reverse"), (2, "forward")):
        traffic = Traffic(config, seed=seed, name=name)
        for number in range(100):
            traffic.send(datagram(number), number)
        fates.append(traffic.fates("lost"))
    assert fates[0] == fates[1]
    assert fates[0] != fates[2] != fates[3] != fates[0]


def test_a_stage_more_does_not_move_the_fates_of_another() -> None:
    loss = Spec("random", (("p", parse_probability("30%")),))
    plain = LinkConfig(loss=loss)
    busy = LinkConfig(
        loss=loss,
        duplicate=parse_probability("20%"),
        corrupt=CorruptConfig(probability=parse_probability("20%")),
        delay=DelayConfig(time=MILLISECOND, jitter=MILLISECOND),
        reorder=ReorderConfig(probability=parse_probability("20%")),
    )
    schedule = [(1, 100)] * 200
    assert sent(plain, schedule, 5).fates("lost") == sent(busy, schedule, 5).fates("lost")


@pytest.mark.parametrize(
    "build",
    [
        lambda: LinkConfig(reorder=ReorderConfig(probability=1)),
        lambda: RateConfig(value=0),
        lambda: CorruptConfig(probability=1, bits=0),
        lambda: ReorderConfig(probability=1, gap=0),
    ],
)
def test_what_cannot_be_is_refused(build: object) -> None:
    assert callable(build)
    with pytest.raises(ConfigError):
        build()
