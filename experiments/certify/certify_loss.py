"""Loss models: how often, in what bursts, with what memory."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import sqrt

import certify_inference as inference
import numpy as np
from certify_lab import Case, Check, Laboratory, exact, fit
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rudp_smtp.draws import DrawKey
from rudp_smtp.experiment.figures import BLACK, BLUE, GREY, SHADE, VERMILION
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.link.loss import LOSS_MODELS
from rudp_smtp.link.loss.state import FourState
from rudp_smtp.registry import Spec
from rudp_smtp.units import PROBABILITY_ONE

LAGS = (1, 2, 3, 5, 8, 13)
Fates = NDArray[np.bool_]
Law = NDArray[np.float64]  # P(length = 1), P(length = 2), ... and in the last cell all the rest


def config_of(value: Mapping[str, object], where: str = "ingress") -> LinkConfig:
    spec = LOSS_MODELS.spec(value)
    return LinkConfig(loss=spec, where="egress" if where == "egress" else "ingress")


def chance(spec: Spec, name: str) -> float:
    value = dict(spec.parameters)[name]
    assert isinstance(value, int)
    return value / PROBABILITY_ONE


def lengths(fates: Fates, value: bool) -> NDArray[np.int64]:
    """Of the runs of this value, but for the first and the last, which are cut off."""
    edges = np.flatnonzero(np.diff(fates.astype(np.int8))) + 1
    starts, stops = edges[:-1], edges[1:]
    found: NDArray[np.int64] = (stops - starts)[fates[starts] == value]
    return found


def geometric(success: float, cells: int) -> Law:
    law = success * (1 - success) ** np.arange(cells)
    return np.append(law, (1 - success) ** cells)


def law_fit(what: str, found: NDArray[np.int64], law: Law) -> Check:
    counts = np.bincount(np.minimum(found, len(law)), minlength=len(law) + 1)[1:]
    return fit(what, len(found), inference.chi_square(counts, law * len(found)))


# Independent losses.


def random(lab: Laboratory) -> list[Case]:
    return [*(_random(lab, p) for p in ("10%", "1%")), _capped(lab)]


def _random(lab: Laboratory, p: str) -> Case:
    config = config_of({"model": "random", "p": p})
    assert config.loss is not None
    theory = LOSS_MODELS.build(config.loss).expected_loss(1)
    fates = lab.carry(config, lab.packets(theory)).lost
    found, expected, p_value = inference.runs(fates)
    checks = [
        lab.share("loss", int(fates.sum()), len(fates), theory),
        Check("runs (Wald-Wolfowitz)", len(fates), round(expected, 1), found, p_value),
        law_fit("gaps are geometric", lengths(fates, False), geometric(float(theory), 3000)),
    ]
    return Case(f"random {p}", lambda figure: _draw_share(figure, fates, float(theory), f"random loss, {p}"), checks)


def _capped(lab: Laboratory) -> Case:
    """At most three in a row: a run is geometric, but cut."""
    cap = 3
    config = config_of({"model": "random", "p": "30%", "max_burst": cap})
    assert config.loss is not None
    p, model = chance(config.loss, "p"), LOSS_MODELS.build(config.loss)
    theory = Fraction(p * (1 - p**cap) / (1 - p ** (cap + 1)))
    ratio = model.variance_ratio(10**9)
    fates = lab.carry(config, lab.packets(theory, ratio)).lost
    bursts, gaps = lengths(fates, True), lengths(fates, False)
    cut = np.append((1 - p) * p ** np.arange(cap - 1), p ** (cap - 1))
    # Whether a gap began by a draw or because a packet was spared, the next is lost with p.
    checks = [
        lab.share("loss", int(fates.sum()), len(fates), theory, variance_ratio=ratio),
        law_fit("bursts are geometric, cut at 3", bursts, np.append(cut, 0.0)),
        law_fit("gaps are geometric", gaps, geometric(p, 60)),
    ]
    title = "random loss, 30%, at most 3 in a row"
    return Case("random 30% capped", lambda figure: _draw_share(figure, fates, float(theory), title, ratio), checks)


def _draw_share(figure: Figure, fates: Fates, theory: float, title: str, variance_ratio: float = 1.0) -> None:
    axes = figure.add_subplot()
    counts = np.unique(np.geomspace(100, len(fates), 400).astype(int))
    shares = np.cumsum(fates)[counts - 1] / counts
    half = 2.576 * np.sqrt(theory * (1 - theory) * variance_ratio / counts)
    axes.fill_between(counts, 100 * (theory - half), 100 * (theory + half), color=SHADE, label="99 % of right links")
    axes.plot(counts, 100 * shares, color=BLUE, label="achieved")
    axes.axhline(100 * theory, color=BLACK, linestyle="--", linewidth=1, label="asked")
    axes.set_xscale("log")
    axes.set_ylim(max(0, 100 * (theory - 1.6 * half[0])), 100 * (theory + 1.6 * half[0]))
    axes.set_xlabel("packets")
    axes.set_ylabel("lost so far (%)")
    axes.set_title(title)
    axes.legend()


# Gilbert and Elliott's two states.


def gemodel(lab: Laboratory) -> list[Case]:
    simple = {"model": "gemodel", "p": "3%", "r": "25%"}
    mixed = {"model": "gemodel", "p": "2%", "r": "20%", "loss_bad": "80%", "loss_good": "1%"}
    return [_gemodel(lab, "gemodel", simple), _gemodel(lab, "gemodel, mixed", mixed)]


def _gemodel(lab: Laboratory, name: str, value: Mapping[str, object]) -> Case:
    config = config_of(value)
    assert config.loss is not None
    model = LOSS_MODELS.build(config.loss)
    p, r = chance(config.loss, "p"), chance(config.loss, "r")
    theory, is_simple = model.expected_loss(1), "loss_bad" not in value
    packets = lab.packets(theory, model.variance_ratio(10**9))
    fates = lab.carry(config, packets).lost
    checks = [
        lab.share("loss", int(fates.sum()), packets, theory, variance_ratio=model.variance_ratio(packets)),
    ]
    memory = 1 - p - r
    if is_simple:
        bursts, gaps = lengths(fates, True), lengths(fates, False)
        checks += [
            law_fit("bursts are geometric(r)", bursts, geometric(r, 100)),
            law_fit("gaps are geometric(p)", gaps, geometric(p, 600)),
        ]
        contrast = 1.0
    else:
        contrast = (chance(config.loss, "loss_bad") - chance(config.loss, "loss_good")) ** 2
    bad, mean = p / (p + r), float(theory)
    scale = contrast * bad * (1 - bad) / (mean * (1 - mean))
    theories = [scale * memory**lag for lag in LAGS]
    found = [_autocorrelation(fates, mean, lag, expected) for lag, expected in zip(LAGS, theories, strict=True)]
    checks += [
        Check(f"autocorrelation at {lag}", packets, round(expected, 6), round(seen, 6), p_value)
        for lag, expected, (seen, p_value) in zip(LAGS, theories, found, strict=True)
    ]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        if is_simple:
            _draw_lengths(left, {"bursts": (bursts, geometric(r, 100)), "gaps": (gaps, geometric(p, 600))})
        else:
            longest = {"losses in a row": lengths(fates, True), "arrivals in a row": lengths(fates, False)}
            _draw_lengths(left, {label: (values, None) for label, values in longest.items()})
        _draw_memory(right, fates, mean, scale, memory)
        figure.suptitle(
            f"{name}: p = {value['p']}, r = {value['r']}", x=0.02, ha="left", fontweight="bold", fontsize=11
        )

    return Case(name, draw, checks)


def _autocorrelation(fates: Fates, mean: float, lag: int, expected: float) -> tuple[float, float]:
    centred = fates - mean
    products = centred[:-lag] * centred[lag:] / (mean * (1 - mean))
    return inference.batch_mean(products, expected)


def _draw_lengths(axes: Axes, laws: dict[str, tuple[NDArray[np.int64], Law | None]]) -> None:
    """The share of the runs that are at least so long."""
    for (label, (found, law)), colour, marker in zip(laws.items(), (VERMILION, BLUE), ("o", "s"), strict=True):
        longest = int(np.quantile(found, 0.9995))
        steps = np.unique(np.geomspace(1, longest, 30).astype(int))
        shares = [float(np.mean(found >= step)) for step in steps]
        axes.plot(steps, shares, marker, color=colour, markersize=3.5, label=label)
        if law is not None:
            tails = 1 - np.concatenate(([0.0], np.cumsum(law[:-1])))[:longest]
            axes.plot(np.arange(1, len(tails) + 1), tails, color=BLACK, linewidth=0.8)
    if any(law is not None for _, law in laws.values()):
        axes.plot([], [], color=BLACK, linewidth=0.8, label="theory")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("packets in a row")
    axes.set_ylabel("share at least as long")
    axes.legend()


def _draw_memory(axes: Axes, fates: Fates, mean: float, scale: float, memory: float) -> None:
    lags = range(1, 21)
    seen = [_autocorrelation(fates, mean, lag, 0.0)[0] for lag in lags]
    error = 2.576 * sqrt((1 + memory**2) / (1 - memory**2) / len(fates))
    axes.errorbar(lags, seen, yerr=error, fmt="o", color=BLUE, markersize=3.5, label="achieved, about 99 %")
    axes.plot(lags, [scale * memory**lag for lag in lags], color=BLACK, linewidth=0.8, label="theory")
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set_xlabel("lag (packets)")
    axes.set_ylabel("autocorrelation of losses")
    axes.legend()


# The chain of four states.

_CHAIN = {"model": "state", "p13": "3%", "p31": "25%", "p32": "20%", "p23": "40%", "p14": "1%"}


def state(lab: Laboratory) -> list[Case]:
    config = config_of(_CHAIN)
    assert config.loss is not None
    model = LOSS_MODELS.build(config.loss)
    theory = model.expected_loss(1)
    packets = lab.packets(theory, model.variance_ratio(10**9))
    fates = lab.carry(config, packets).lost
    matrix = _matrix(config.loss)
    stationary = _stationary(matrix)
    bursts, gaps = lengths(fates, True), lengths(fates, False)
    laws = _run_law(matrix, stationary, (2, 3), 100), _run_law(matrix, stationary, (0, 1), 600)
    assert isinstance(model, FourState)
    visited = _walk(model, packets)
    occupancy = np.bincount(visited, minlength=5)[1:]
    ratio = model.variance_ratio(packets)
    checks = [
        lab.share("loss", int(fates.sum()), packets, theory, variance_ratio=ratio),
        law_fit("bursts as the chain has them", bursts, laws[0]),
        law_fit("gaps as the chain has them", gaps, laws[1]),
    ]
    for number, share in enumerate(stationary, 1):
        mean, p_value = inference.batch_mean(visited == number, float(share))
        checks.append(Check(f"share of state {number}", packets, round(float(share), 6), round(mean, 6), p_value))
    checks.append(fit("transitions", packets, _transitions(visited, matrix)))

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _draw_lengths(left, {"bursts": (bursts, laws[0]), "gaps": (gaps, laws[1])})
        right.bar(np.arange(1, 5) - 0.2, stationary, 0.4, color=GREY, label="stationary vector")
        right.bar(np.arange(1, 5) + 0.2, occupancy / len(visited), 0.4, color=BLUE, label="achieved")
        right.set_yscale("log")
        right.set_xticks(range(1, 5), ["1 arrives", "2 in a burst", "3 lost", "4 lost alone"], fontsize=8)
        right.set_ylabel("share of the packets")
        right.set_ylim(top=3)
        right.legend()
        figure.suptitle("the chain of four states", x=0.02, ha="left", fontweight="bold", fontsize=11)

    return [Case("state", draw, checks)]


def _matrix(spec: Spec) -> NDArray[np.float64]:
    p13, p31, p32, p23, p14 = (chance(spec, name) for name in ("p13", "p31", "p32", "p23", "p14"))
    return np.array([[1 - p13 - p14, 0, p13, p14], [0, 1 - p23, p23, 0], [p31, p32, 1 - p31 - p32, 0], [1.0, 0, 0, 0]])


def _stationary(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The row vector that the chain leaves as it is."""
    equations = np.vstack([matrix.T - np.eye(4), np.ones(4)])
    vector: NDArray[np.float64] = np.linalg.lstsq(equations, np.array([0, 0, 0, 0, 1.0]), rcond=None)[0]
    return vector


def _run_law(matrix: NDArray[np.float64], stationary: NDArray[np.float64], inside: Sequence[int], cells: int) -> Law:
    """How long the chain stays in these states, once it has come from the others."""
    outside = [number for number in range(4) if number not in inside]
    entered = stationary[outside] @ matrix[np.ix_(outside, inside)]
    here = entered / entered.sum()
    staying, leaving = matrix[np.ix_(inside, inside)], matrix[np.ix_(inside, outside)].sum(axis=1)
    law = []
    for _ in range(cells):
        law.append(float(here @ leaving))
        here = here @ staying
    return np.append(law, float(here.sum()))


def _walk(model: FourState, packets: int) -> NDArray[np.int64]:
    """The states themselves, which nobody sees from outside: those of packets 1, 2, ..."""
    draws = DrawKey(2, "certify", "state")
    states = np.empty(packets, dtype=np.int64)
    for index in range(packets):
        model.drops(index, draws)
        states[index] = model.state
    return states


def _transitions(visited: NDArray[np.int64], matrix: NDArray[np.float64]) -> tuple[float, int, float]:
    """Chi-square over the steps out of each state, given how often it was left."""
    counts = np.zeros((4, 4))
    np.add.at(counts, (visited[:-1] - 1, visited[1:] - 1), 1)
    statistic, degrees = 0.0, 0
    for row, chances in zip(counts, matrix, strict=True):
        possible = chances > 0
        if row[~possible].any():
            return float("inf"), degrees + 1, 0.0  # a step there is not
        expected = row.sum() * chances[possible]
        statistic += float(((row[possible] - expected) ** 2 / expected).sum())
        degrees += int(possible.sum()) - 1
    return statistic, degrees, inference.chi_square_share(statistic, degrees)


# Models that leave nothing to chance.


def exact_models(lab: Laboratory) -> list[Case]:
    packets = 1000
    trace = (0, 1, 1, 0, 0, 0, 1)
    wanted: dict[str, tuple[Mapping[str, object], set[int]]] = {
        "every_nth": ({"model": "every_nth", "n": 7, "offset": 3}, set(range(3, packets, 7))),
        "list": ({"model": "list", "packets": [2, 3, 500, 999]}, {2, 3, 500, 999}),
        "trace": ({"model": "trace", "fates": list(trace)}, {i for i in range(packets) if trace[i % len(trace)]}),
    }
    found: dict[str, Fates] = {}
    checks = []
    for name, (value, indexes) in wanted.items():
        for where in ("ingress", "egress"):
            fates = lab.carry(config_of(value, where), packets).lost
            differing = len(indexes.symmetric_difference(np.flatnonzero(fates).tolist()))
            checks.append(exact(f"{name}, {where}", packets, differing))
        found[name] = fates

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for row, (name, fates) in enumerate(found.items()):
            lost, asked = np.flatnonzero(fates[:100]), _below(wanted[name][1], 100)
            axes.plot(lost, [row] * len(lost), "|", color=VERMILION, markersize=14)
            axes.plot(asked, [row - 0.25] * len(asked), ".", color=BLACK, markersize=3)
        axes.set_yticks(range(3), list(found))
        axes.set_ylim(-0.7, 2.7)
        axes.set_xlabel("packet")
        axes.set_title("lost (red) and asked to be (dots): the first hundred packets")

    return [Case("exact loss", draw, checks)]


def _below(indexes: set[int], limit: int) -> list[int]:
    return sorted(index for index in indexes if index < limit)
