"""Contract of every loss model, and what each one promises beyond it."""

from fractions import Fraction
from itertools import groupby, pairwise
from math import sqrt
from typing import get_type_hints

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.loss import LOSS_MODELS, LossModel
from rudp_smtp.registry import Spec
from rudp_smtp.units import Probability, parse_probability
from tests.link.inference import Z, is_binomial, is_geometric, mean_is, runs_are_random

SAMPLES: dict[object, object] = {Probability: "10%", int: 7, tuple[int, ...]: [1, 0, 1, 1]}


def sample_spec(name: str) -> Spec:
    """Some value for each parameter that has no default: a new model is tested without another line."""
    hints = get_type_hints(LOSS_MODELS.load(name).__init__, include_extras=True)
    required = [key for key, parameter in LOSS_MODELS.parameters(name).items() if parameter.default is parameter.empty]
    return LOSS_MODELS.spec({"model": name, **{key: SAMPLES[hints[key]] for key in required}})


def build(value: object) -> LossModel:
    return LOSS_MODELS.build(LOSS_MODELS.spec(value))


def fates(model: LossModel, packets: int, seed: int = 1) -> list[bool]:
    draws = DrawKey(seed, "loss")
    return [model.drops(index, draws) for index in range(packets)]


def run_lengths(drops: list[bool], value: bool) -> list[int]:
    """Lengths of the runs of this value, without the first and the last run, which are cut off."""
    runs = [(key, len(list(run))) for key, run in groupby(drops)]
    return [length for key, length in runs[1:-1] if key == value]


@pytest.mark.parametrize("name", LOSS_MODELS.names())
def test_the_long_run_loss_is_the_declared_one(name: str) -> None:
    spec = sample_spec(name)
    lost = [sum(fates(LOSS_MODELS.build(spec), 250, seed)) for seed in range(400)]
    assert mean_is(lost, float(250 * LOSS_MODELS.build(spec).expected_loss(250)))


@pytest.mark.parametrize("name", LOSS_MODELS.names())
def test_the_same_seed_drops_the_same_packets(name: str) -> None:
    spec = sample_spec(name)
    assert fates(LOSS_MODELS.build(spec), 500) == fates(LOSS_MODELS.build(spec), 500)


@pytest.mark.parametrize("name", LOSS_MODELS.names())
def test_the_expected_loss_is_a_share(name: str) -> None:
    model = LOSS_MODELS.build(sample_spec(name))
    assert all(0 <= model.expected_loss(packets) <= 1 for packets in (0, 1, 10, 1000))


@pytest.mark.parametrize("name", LOSS_MODELS.names())
def test_the_arguments_for_tc_begin_with_loss_or_are_none(name: str) -> None:
    arguments = LOSS_MODELS.build(sample_spec(name)).to_tc()
    assert arguments is None or arguments[0] == "loss"


@pytest.mark.parametrize(("p", "packets"), [("10%", 149_000), ("1%", 100_000), ("50%", 20_000)])
def test_random_loss_lies_in_the_exact_binomial_interval(p: str, packets: int) -> None:
    lost = sum(fates(build({"model": "random", "p": p}), packets))
    assert is_binomial(lost, packets, parse_probability(p) / 2**64)


def test_random_loss_has_as_many_runs_as_independence_makes() -> None:
    assert runs_are_random(fates(build({"model": "random", "p": "10%"}), 50_000))


def test_random_loss_of_another_seed_is_another() -> None:
    model = build({"model": "random", "p": "10%"})
    assert fates(model, 500, seed=1) != fates(model, 500, seed=2)


@pytest.mark.parametrize(("p", "cap"), [("30%", 3), ("50%", 2), ("80%", 5), ("2%", 3)])
def test_a_cap_on_bursts_holds_and_costs_what_the_theory_says(p: str, cap: int) -> None:
    """Bursts are geometric up to the cap, where those that would be longer end; the share follows from that."""
    value = {"model": "random", "p": p, "max_burst": cap}
    share = parse_probability(p) / 2**64
    expected = share * (1 - share**cap) / (1 - share ** (cap + 1))
    assert float(build(value).expected_loss(1)) == pytest.approx(expected)
    drops = fates(build(value), 20_000)
    bursts = run_lengths(drops, True)
    assert max(bursts) <= cap
    at_cap = sum(length == cap for length in bursts)
    assert is_binomial(at_cap, len(bursts), share ** (cap - 1))
    lost = [sum(fates(build(value), 100, seed)) for seed in range(400)]
    assert mean_is(lost, 100 * expected)
    first = sum(fates(build(value), 1, seed)[0] for seed in range(4000))
    assert is_binomial(first, 4000, expected)


def test_a_cap_spares_packets_and_changes_no_other_fate() -> None:
    free, capped = (fates(build({"model": "random", "p": "30%", **cap}), 2000) for cap in ({}, {"max_burst": 3}))
    spared = [index for index in range(10, 2000) if free[index] != capped[index]]
    assert spared
    assert all(free[index] and capped[index - 3 : index] == [True] * 3 for index in spared)


def test_a_cap_holds_for_certain_loss_too() -> None:
    drops = fates(build({"model": "random", "p": "100%", "max_burst": 3}), 1000)
    assert set(run_lengths(drops, True)) == {3}
    assert set(run_lengths(drops, False)) == {1}
    assert build({"model": "random", "p": "100%", "max_burst": 3}).expected_loss(1) == Fraction(3, 4)
    assert not any(fates(build({"model": "random", "p": "0%", "max_burst": 3}), 100))


def test_without_a_cap_nothing_is_said_of_one() -> None:
    """Runs that were stored before there was one keep their keys."""
    assert LOSS_MODELS.describe(LOSS_MODELS.spec({"model": "random", "p": "1%"})) == {"model": "random", "p": "1%"}
    capped = {"model": "random", "p": "1%", "max_burst": 3}
    assert LOSS_MODELS.describe(LOSS_MODELS.spec(capped)) == capped


def test_certain_loss_is_certain_and_no_loss_is_none() -> None:
    assert all(fates(build({"model": "random", "p": "100%"}), 1000))
    assert not any(fates(build({"model": "random", "p": "0%"}), 1000))


def test_gilbert_elliott_bursts_and_gaps_are_geometric() -> None:
    drops = fates(build({"model": "gemodel", "p": "3%", "r": "25%"}), 60_000)
    bursts, gaps = run_lengths(drops, True), run_lengths(drops, False)
    assert is_geometric(bursts, 0.25)
    assert is_geometric(gaps, 0.03)
    # A geometric length has mean 1/r and variance (1-r)/r**2.
    assert abs(sum(bursts) / len(bursts) - 4) <= Z * sqrt(0.75 / 0.25**2 / len(bursts))
    assert abs(sum(gaps) / len(gaps) - 1 / 0.03) <= Z * sqrt(0.97 / 0.03**2 / len(gaps))


def test_gilbert_elliott_fades_from_memory_as_the_theory_says() -> None:
    drops = fates(build({"model": "gemodel", "p": "10%", "r": "30%"}), 60_000)
    mean = 0.25
    variance = mean * (1 - mean)
    for lag in (1, 2, 3, 5):
        covariance = sum((a - mean) * (b - mean) for a, b in zip(drops, drops[lag:], strict=False)) / len(drops)
        assert covariance / variance == pytest.approx(0.6**lag, abs=0.03)


def test_gilbert_elliott_loses_in_both_states() -> None:
    value = {"model": "gemodel", "p": "20%", "r": "20%", "loss_bad": "80%", "loss_good": "5%"}
    lost = [sum(fates(build(value), 200, seed)) for seed in range(400)]
    assert build(value).expected_loss(200) == pytest.approx(0.425)
    assert mean_is(lost, 200 * 0.425)


def test_gilbert_elliott_is_in_equilibrium_from_the_first_packet() -> None:
    first = sum(fates(build({"model": "gemodel", "p": "1%", "r": "4%"}), 1, seed)[0] for seed in range(4000))
    assert is_binomial(first, 4000, 0.2)


def test_gilbert_elliott_that_never_leaves_its_good_state_loses_at_its_rate() -> None:
    model = build({"model": "gemodel", "p": "0%", "r": "0%", "loss_good": "100%"})
    assert all(fates(model, 100))
    assert model.expected_loss(100) == 1


def test_a_list_drops_exactly_its_packets() -> None:
    model = build({"model": "list", "packets": [2, 3, 7, 3]})
    assert [index for index, lost in enumerate(fates(model, 100)) if lost] == [2, 3, 7]
    assert model.expected_loss(100) == Fraction(3, 100)
    assert model.expected_loss(4) == Fraction(2, 4)


def test_every_nth_begins_at_its_offset() -> None:
    model = build({"model": "every_nth", "n": 10, "offset": 4})
    assert [index for index, lost in enumerate(fates(model, 40)) if lost] == [4, 14, 24, 34]
    assert [model.expected_loss(packets) for packets in (4, 5, 14, 15)] == [
        0,
        Fraction(1, 5),
        Fraction(1, 14),
        Fraction(2, 15),
    ]


CHAIN = {"model": "state", "p13": "5%", "p31": "20%", "p32": "30%", "p23": "40%", "p14": "2%"}


def test_four_states_lose_what_their_equilibrium_says() -> None:
    # Weights: 1 p31 p23, 2 p13 p32, 3 p13 p23, 4 p14 p31 p23.
    weights = [0.2 * 0.4, 0.05 * 0.3, 0.05 * 0.4, 0.02 * 0.2 * 0.4]
    expected = (weights[2] + weights[3]) / sum(weights)
    assert float(build(CHAIN).expected_loss(1)) == pytest.approx(expected)
    lost = [sum(fates(build(CHAIN), 200, seed)) for seed in range(400)]
    assert mean_is(lost, 200 * expected)
    first = sum(fates(build(CHAIN), 1, seed)[0] for seed in range(4000))
    assert is_binomial(first, 4000, expected)


def test_four_states_step_as_often_as_they_are_told() -> None:
    """Chi-square on what a packet's fate says of the next: the chain's own transitions, seen from outside."""
    value = {"model": "state", "p13": "10%", "p31": "25%", "p14": "5%"}
    drops = fates(build(value), 60_000)
    # State 2 is not entered. From 3: stays with 75 %; from 4: never. From 1: 15 % lost next, either way.
    after_kept = [later for before, later in pairwise(drops) if not before]
    assert is_binomial(sum(after_kept), len(after_kept), 0.15)
    after_lost = [later for before, later in pairwise(drops) if before]
    burst, alone = 0.1, 0.25 * 0.05
    assert is_binomial(sum(after_lost), len(after_lost), 0.75 * burst / (burst + alone))


def test_isolated_losses_stay_alone_and_bursts_have_holes() -> None:
    alone = fates(build({"model": "state", "p13": "0%", "p14": "30%"}), 5000)
    assert sum(alone) > 800
    assert max(run_lengths(alone, True)) == 1
    holed = fates(build({"model": "state", "p13": "1%", "p31": "10%", "p32": "50%", "p23": "50%"}), 5000)
    assert sum(holed) > 100


def test_four_states_without_the_second_and_the_fourth_are_gilberts() -> None:
    drops = fates(build({"model": "state", "p13": "3%", "p31": "25%"}), 60_000)
    assert is_geometric(run_lengths(drops, True), 0.25)
    assert is_geometric(run_lengths(drops, False), 0.03)


@pytest.mark.parametrize("p", ["p31", "p32", "p23"])
def test_four_states_may_have_ways_that_are_never_gone(p: str) -> None:
    model = build({**CHAIN, p: "0%"})
    assert 0 <= model.expected_loss(1) <= 1
    fates(model, 100)


def test_a_trace_is_repeated() -> None:
    model = build({"model": "trace", "fates": [0, 1, 1, 0, 0]})
    assert [index for index, lost in enumerate(fates(model, 12)) if lost] == [1, 2, 6, 7, 11]
    assert [model.expected_loss(packets) for packets in (0, 3, 12)] == [0, Fraction(2, 3), Fraction(5, 12)]


def test_tc_gets_the_numbers_in_its_own_words() -> None:
    assert build({"model": "random", "p": "12.5%"}).to_tc() == ["loss", "random", "12.5%"]
    chain = build({"model": "gemodel", "p": "1%", "r": "10%", "loss_bad": "75%", "loss_good": "0.1%"})
    assert chain.to_tc() == ["loss", "gemodel", "1%", "10%", "75%", "0.1%"]
    assert build(CHAIN).to_tc() == ["loss", "state", "5%", "20%", "30%", "40%", "2%"]
    assert build({"model": "state", "p13": "5%"}).to_tc() == ["loss", "state", "5%", "95%", "0%", "100%", "0%"]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"model": "list", "packets": [1, -1]}, "loss.packets[1]"),
        ({"model": "every_nth", "n": 0}, "loss.n"),
        ({"model": "every_nth", "n": 3, "offset": -1}, "loss.offset"),
        ({"model": "random", "p": "130%"}, "loss.p"),
        ({"model": "random", "p": "30%", "max_burst": 0}, "loss.max_burst"),
        ({"model": "random", "p": "30%", "max_burst": 1001}, "loss.max_burst"),
        ({"model": "gemodel", "p": "1%"}, "loss"),
        ({"model": "state", "p13": "60%", "p14": "50%"}, "loss.p14"),
        ({"model": "state", "p13": "1%", "p31": "60%", "p32": "50%"}, "loss.p32"),
        ({"model": "state", "p13": "1%", "p32": "50%"}, "loss.p32"),
        ({"model": "trace", "fates": []}, "loss.fates"),
        ({"model": "trace", "fates": [0, 2]}, "loss.fates[1]"),
    ],
)
def test_impossible_parameters_are_refused_at_their_key(value: object, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LOSS_MODELS.spec(value, "loss")
    assert caught.value.key == key
