"""Certificates: a right link agrees with its theory about as often as is claimed, a wrong one does not."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from statistics import pvariance

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.experiment.build import LinkFacts, link_facts
from rudp_smtp.experiment.certification import (
    AGREES,
    DISAGREES,
    TOO_FEW,
    UNASKED,
    Certificate,
    asked_loss,
    certify_corrupt,
    certify_delay,
    certify_duplicate,
    certify_loss,
    certify_rate,
    certify_reorder,
    delay_moments,
)
from rudp_smtp.link.config import CorruptConfig, DelayConfig, LinkConfig, MatchRule, RateConfig, ReorderConfig
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS
from rudp_smtp.link.loss import LOSS_MODELS
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, parse_probability
from tests.link.traffic import Traffic, carried, datagram

Certify = Callable[[LinkFacts], Certificate]

BURSTS = {"model": "gemodel", "p": "3%", "r": "25%"}
CHAIN = {"model": "state", "p13": "5%", "p31": "20%", "p32": "30%", "p23": "40%", "p14": "2%"}


def facts(config: LinkConfig, packets: int, seed: int = 1) -> LinkFacts:
    return link_facts(carried(config, range(0, packets * MILLISECOND, MILLISECOND), seed=seed).link)


def lossy(value: object) -> LinkConfig:
    return LinkConfig(loss=LOSS_MODELS.spec(value))


def jittered(distribution: str, *, time: int = 20, jitter: int = 5) -> LinkConfig:
    delay = DelayConfig(time=time * MILLISECOND, jitter=jitter * MILLISECOND, distribution=Spec(distribution))
    return LinkConfig(delay=delay)


TENTH = parse_probability("10%")
CHANCES: list[tuple[Certify, LinkConfig]] = [
    (certify_loss, lossy({"model": "random", "p": "10%"})),
    (certify_loss, lossy(BURSTS)),
    (certify_loss, lossy(CHAIN)),
    (certify_loss, lossy({"model": "random", "p": "30%", "max_burst": 2})),
    (certify_duplicate, LinkConfig(duplicate=TENTH)),
    (certify_corrupt, LinkConfig(corrupt=CorruptConfig(probability=TENTH))),
    (certify_corrupt, LinkConfig(corrupt=CorruptConfig(probability=4 * TENTH, max_burst=1))),
    (certify_reorder, LinkConfig(reorder=ReorderConfig(probability=TENTH, gap=4, hold=MILLISECOND))),
    *((certify_delay, jittered(name)) for name in ("uniform", "normal", "pareto", "paretonormal")),
]
IDS = [
    "random", "gemodel", "state", "capped loss", "duplicate", "corrupt", "capped damage", "reorder",
    "uniform", "normal", "pareto", "paretonormal",
]  # fmt: skip


@pytest.mark.parametrize(("certify", "config"), CHANCES, ids=IDS)
def test_a_right_link_disagrees_with_its_theory_about_once_in_a_hundred_runs(
    certify: Certify, config: LinkConfig
) -> None:
    verdicts = Counter(certify(facts(config, 1200, seed)).verdict for seed in range(60))
    assert verdicts[DISAGREES] <= 4  # of 60 at 1 %, more come once in three thousand times
    assert verdicts[DISAGREES] < verdicts[AGREES]


@pytest.mark.parametrize(("certify", "config"), CHANCES[:8], ids=IDS[:8])
def test_a_share_that_is_half_of_what_was_asked_is_found_out(certify: Certify, config: LinkConfig) -> None:
    right = facts(config, 8000)
    assert certify(right).verdict == AGREES
    stats = right.stats
    for name in ("packets_doomed", "duplicates_drawn", "corruptions_drawn", "reorders_drawn"):
        setattr(stats, name, getattr(stats, name) // 2)
    assert certify(right).verdict == DISAGREES


def test_losses_in_bursts_have_a_wider_interval_than_single_ones() -> None:
    bursts, single = (
        certify_loss(facts(lossy(BURSTS), 4000)),
        certify_loss(facts(lossy({"model": "random", "p": "10.7%"}), 4000)),
    )
    widths = [(c.interval.high or 0) - (c.interval.low or 0) for c in (bursts, single)]
    assert widths[0] / widths[1] == pytest.approx((1.72 / 0.28) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    "value",
    [
        {"model": "list", "packets": [1, 5]},
        {"model": "every_nth", "n": 7},
        {"model": "trace", "fates": [0, 1]},
        {"model": "random", "p": "100%"},
        {"model": "random", "p": "0%"},
    ],
    ids=lambda value: str(value["model"]),
)
def test_what_leaves_nothing_to_chance_is_held_to_the_packet(value: object) -> None:
    right = facts(lossy(value), 99)
    assert certify_loss(right).verdict == AGREES
    right.stats.packets_doomed += 1 if right.stats.packets_doomed < 99 else -1
    assert certify_loss(right).verdict == DISAGREES


def test_a_loss_model_counts_what_other_stages_took_too() -> None:
    """A packet in a black hole has had its turn in the list."""
    traffic = Traffic(lossy({"model": "list", "packets": [2, 5, 8]}))
    for index in range(10):
        traffic.link.set_blackhole(4 <= index < 7)
        traffic.send(datagram(index), index)
    certificate = certify_loss(link_facts(traffic.link))
    assert (certificate.achieved, certificate.theoretical, certificate.verdict) == (0.3, 0.3, AGREES)


def test_few_packets_tell_nothing_and_are_said_to() -> None:
    assert certify_loss(facts(lossy({"model": "random", "p": "1%"}), 200)).verdict == TOO_FEW
    assert certify_loss(facts(lossy({"model": "random", "p": "1%"}), 0)).verdict == TOO_FEW
    assert certify_delay(facts(jittered("pareto"), 100)).verdict == TOO_FEW
    assert certify_rate(facts(LinkConfig(rate=RateConfig(value=1_000_000)), 0)).verdict == TOO_FEW
    assert certify_duplicate(facts(LinkConfig(duplicate=TENTH), 0)).verdict == TOO_FEW


def test_nothing_asked_nothing_certified() -> None:
    plain = facts(LinkConfig(), 10)
    for certify in (certify_loss, certify_delay, certify_rate, certify_reorder, certify_duplicate, certify_corrupt):
        assert certify(plain) is UNASKED
    assert asked_loss(LinkConfig()) == ""


def test_a_constant_delay_is_held_to_the_nanosecond() -> None:
    config = LinkConfig(
        delay=DelayConfig(time=7), reorder=ReorderConfig(probability=TENTH, hold=1000), rate=RateConfig(value=10**9)
    )
    right = facts(config, 500)
    assert right.stats.detour_time > 0
    assert certify_delay(right).verdict == AGREES
    right.stats.delay_time += 1
    assert certify_delay(right).verdict == DISAGREES


@pytest.mark.parametrize("keep_order", [False, True])
def test_what_order_and_rules_add_is_no_part_of_the_delay_drawn(keep_order: bool) -> None:
    delay = replace(jittered("uniform").delay, keep_order=keep_order)
    rule = MatchRule(action="delay", delay=MILLISECOND, every=3)
    for_order = facts(LinkConfig(delay=delay, match=(rule,)), 2000)
    assert for_order.stats.detour_time >= 666 * MILLISECOND
    assert certify_delay(for_order).verdict == AGREES


@pytest.mark.parametrize("name", ["uniform", "normal", "pareto", "paretonormal"])
def test_a_delay_off_by_a_tenth_of_its_spread_is_found_out(name: str) -> None:
    config = jittered(name)
    wrong = link_facts(carried(config, range(4000)).link)
    assert certify_delay(wrong).verdict == AGREES
    wrong.stats.delay_time += 4000 * MILLISECOND // 2
    assert certify_delay(wrong).verdict == DISAGREES


@pytest.mark.parametrize("name", ["uniform", "normal", "pareto", "paretonormal"])
@pytest.mark.parametrize("time", [0, 2, 50])
def test_the_moments_are_those_of_what_the_distribution_draws_and_never_below_zero(name: str, time: int) -> None:
    config = jittered(name, time=time)
    traffic = carried(config, [0] * 20_000)
    mean = sum(traffic.times()) / 20_000
    variance = sum((value - mean) ** 2 for value in traffic.times()) / 20_000
    moments = delay_moments(config.delay)
    assert moments is not None
    assert mean == pytest.approx(moments[0], abs=4 * (moments[1] / 20_000) ** 0.5)
    assert variance == pytest.approx(moments[1], rel=0.15)


def test_pieces_are_whole_distributions() -> None:
    for name in ("uniform", "normal", "pareto", "paretonormal"):
        pieces = DELAY_DISTRIBUTIONS.build(Spec(name)).pieces(1000)
        assert pieces is not None
        assert sum(share for _, _, share in pieces) == pytest.approx(1)
        assert sorted(pieces) == pieces


@pytest.mark.parametrize("value", [20_000_000, 3, 999_999_937])
def test_a_rate_is_held_to_a_nanosecond_for_each_busy_period(value: int) -> None:
    right = facts(LinkConfig(rate=RateConfig(value=value, cell_size=48, cell_overhead=5)), 50)
    assert certify_rate(right).verdict == AGREES
    right.stats.serialisation_time += right.stats.busy_periods + 2
    assert certify_rate(right).verdict == DISAGREES


def test_a_recorded_rate_has_no_one_rate_to_hold_it_to() -> None:
    assert certify_rate(facts(LinkConfig(rate=RateConfig(trace=(1, 5))), 50)) is UNASKED


def test_theory_follows_the_changes_an_event_makes() -> None:
    """500 packets at 10 %, 5 ms and 1 Mbit/s, then 1500 at 40 %, 9 ms and 4 Mbit/s."""
    first = LinkConfig(
        loss=Spec("random", (("p", TENTH),)),
        duplicate=TENTH,
        delay=DelayConfig(time=5 * MILLISECOND),
        rate=RateConfig(value=1_000_000),
    )
    then = replace(
        first,
        loss=Spec("random", (("p", 4 * TENTH),)),
        duplicate=4 * TENTH,
        delay=DelayConfig(time=9 * MILLISECOND),
        rate=RateConfig(value=4_000_000),
    )
    traffic = Traffic(first)
    for index in range(2000):
        if index == 500:
            traffic.run(500 * MILLISECOND)
            traffic.link.change(then, 500 * MILLISECOND)
        traffic.send(datagram(index), index * MILLISECOND)
    traffic.run()
    changed = link_facts(traffic.link)
    loss, duplicate, delay, rate = (
        certify(changed) for certify in (certify_loss, certify_duplicate, certify_delay, certify_rate)
    )
    assert loss.theoretical == pytest.approx(0.325)
    tried = [stats.duplicate_draws for _, stats in changed.periods]
    assert duplicate.theoretical == pytest.approx((tried[0] * 0.1 + tried[1] * 0.4) / sum(tried), abs=1e-6)
    assert delay.theoretical is not None
    assert 5 < delay.theoretical < 9
    assert rate.theoretical is not None
    assert 1_000_000 < rate.theoretical < 4_000_000
    assert [certificate.verdict for certificate in (loss, duplicate, delay, rate)] == [AGREES] * 4


def test_the_theory_of_bursts_is_the_formula() -> None:
    value = {"model": "gemodel", "p": "20%", "r": "30%", "loss_bad": "80%", "loss_good": "5%"}
    certificate = certify_loss(facts(lossy(value), 100))
    assert certificate.theoretical == pytest.approx((0.2 * 0.8 + 0.3 * 0.05) / 0.5)
    assert asked_loss(lossy(value)) == "gemodel p=20% r=30% loss_bad=80% loss_good=5%"


def test_a_variance_ratio_is_that_of_the_long_run() -> None:
    bursts = LOSS_MODELS.build(LOSS_MODELS.spec(BURSTS))
    assert bursts.variance_ratio(10**7) == pytest.approx(1.72 / 0.28, rel=1e-3)
    gilbert = LOSS_MODELS.build(LOSS_MODELS.spec({"model": "state", "p13": "3%", "p31": "25%"}))
    assert gilbert.variance_ratio(10**7) == pytest.approx(1.72 / 0.28)
    assert LOSS_MODELS.build(LOSS_MODELS.spec({"model": "random", "p": "3%"})).variance_ratio(9) == 1
    assert Fraction(TENTH, PROBABILITY_ONE) == pytest.approx(Fraction(1, 10))


@pytest.mark.parametrize(("p", "cap"), [("30%", 3), ("60%", 1), ("90%", 2)])
def test_capped_losses_vary_less_than_independent_ones_by_as_much_as_is_said(p: str, cap: int) -> None:
    spec = LOSS_MODELS.spec({"model": "random", "p": p, "max_burst": cap})
    packets = 200
    counts = []
    for seed in range(800):
        model, draws = LOSS_MODELS.build(spec), DrawKey(seed, "cap")
        counts.append(sum(model.drops(index, draws) for index in range(packets)))
    model = LOSS_MODELS.build(spec)
    mean = float(model.expected_loss(packets))
    assert pvariance(counts) / (packets * mean * (1 - mean)) == pytest.approx(model.variance_ratio(packets), rel=0.2)
