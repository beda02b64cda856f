"""Delays: each distribution against its own law, order where it is to be kept, slots."""

from collections.abc import Callable
from dataclasses import replace
from math import erf, sqrt

import certify_inference as inference
import numpy as np
from certify_lab import Case, Check, Laboratory, exact, fit
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rudp_smtp.draws import DrawKey
from rudp_smtp.experiment.figures import BLACK, BLUE, SHADE, VERMILION
from rudp_smtp.link.config import DelayConfig, LinkConfig, SlotConfig
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND

TIME, JITTER = 100 * MILLISECOND, 10 * MILLISECOND
PACKETS = 200_000
KOLMOGOROV = 1.6276  # 99 % of the distances between a distribution and its sample, by the root of its size
ENTRIES = 4096  # of a table
NANOSECONDS_OFF = 2  # of a table's entry, computed here in floats
CELL = 1 / 256  # of a deviation: `normal` interpolates inside, which misses a quantile x by up to CELL**2 / 8 * x
OWN_TABLE = tuple(round(8192 * (i / 50 - 1)) if i < 50 else round(8192 * (i - 50) / 25) for i in range(100))

Offsets = NDArray[np.int64]
Atoms = NDArray[np.float64]


def delays(lab: Laboratory) -> list[Case]:
    laws = {
        "uniform": lambda offsets: (offsets + JITTER + _place(offsets, "uniform")) / (2 * JITTER + 1),
        "normal": lambda offsets: np.vectorize(_normal)(offsets / JITTER),
    }
    tables = {"pareto": _pareto(), "paretonormal": _paretonormal(), "table": np.array(OWN_TABLE) / 8192}
    missed = np.abs(_normal_quantiles()) * CELL**2 / 8 * JITTER
    cases = [_continuous(lab, name, law) for name, law in laws.items()]
    slack = {name: np.full(len(table), float(NANOSECONDS_OFF)) for name, table in tables.items()}
    slack["paretonormal"] += missed
    return cases + [_tabled(lab, name, table, slack[name]) for name, table in tables.items()]


def _config(name: str) -> LinkConfig:
    parameters = (("values", OWN_TABLE),) if name == "table" else ()
    return LinkConfig(delay=DelayConfig(time=TIME, jitter=JITTER, distribution=Spec(name, parameters)))


def _offsets(lab: Laboratory, name: str) -> Offsets:
    offsets: Offsets = lab.carry(_config(name), lab.fewer(PACKETS)).delays - TIME
    return offsets


def _place(values: Offsets, purpose: str) -> NDArray[np.float64]:
    """Where between a step's foot and its top each value is put, at random: then the steps do not blunt the test."""
    draws = DrawKey(3, "certify", purpose)
    return np.array([draws.draw(index) / 2**64 for index in range(len(values))])


def _normal(deviations: float) -> float:
    """Cut off at five."""
    whole = erf(5 / sqrt(2))
    return (erf(deviations / sqrt(2)) / whole + 1) / 2


def _continuous(lab: Laboratory, name: str, law: Callable[[Offsets], NDArray[np.float64]]) -> Case:
    offsets = _offsets(lab, name)
    deviation = JITTER / sqrt(3) if name == "uniform" else JITTER
    distance, p_value = inference.kolmogorov(law(offsets))
    checks = [Check("Kolmogorov-Smirnov", len(offsets), 0, round(distance, 6), p_value)]
    fourth = 1.8 if name == "uniform" else 3.0
    checks += _moments(offsets, deviation, fourth)
    grid = np.linspace(offsets.min(), offsets.max(), 500)
    if name == "uniform":
        theory = np.clip((grid + JITTER) / (2 * JITTER), 0, 1)
    else:
        theory = np.vectorize(_normal)(grid / JITTER)
    return Case(f"delay {name}", lambda figure: _draw(figure, name, offsets, grid, theory), checks)


def _moments(offsets: Offsets, deviation: float, fourth: float) -> list[Check]:
    """Mean and deviation, by what they and the fourth moment say of how much both vary."""
    count = len(offsets)
    mean, variance = float(offsets.mean()), float((offsets.astype(np.float64) ** 2).mean())
    to_mean = mean / (deviation / sqrt(count))
    to_variance = (variance / deviation**2 - 1) / sqrt((fourth - 1) / count)
    milliseconds = [round(value / MILLISECOND, 6) for value in (mean, deviation, sqrt(variance))]
    return [
        Check("mean offset, ms", count, 0, milliseconds[0], inference.normal(to_mean)),
        Check("deviation, ms", count, milliseconds[1], milliseconds[2], inference.normal(to_variance)),
    ]


def _pareto() -> Atoms:
    """Shape 3, the middles of equally likely cells, with mean 0 and deviation 1."""
    return _standardised((1 - _middles()) ** (-1 / 3))


def _paretonormal() -> Atoms:
    normal = _normal_quantiles()
    return _standardised(normal + 3 * (1 - _middles()) ** (-1 / 3))


def _middles() -> Atoms:
    return (np.arange(ENTRIES) + 0.5) / ENTRIES


def _normal_quantiles() -> Atoms:
    """By bisection: good to 1e-12."""
    low, high = np.full(ENTRIES, -5.0), np.full(ENTRIES, 5.0)
    for _ in range(50):
        middle = (low + high) / 2
        is_below = np.vectorize(_normal)(middle) < _middles()
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    quantiles: Atoms = (low + high) / 2
    return quantiles


def _standardised(values: Atoms) -> Atoms:
    centred = values - values.mean()
    scaled: Atoms = centred / np.sqrt((centred**2).mean())
    return scaled


def _tabled(lab: Laboratory, name: str, table: Atoms, slack: Atoms) -> Case:
    """All entries are equally likely, and nothing else comes."""
    offsets = _offsets(lab, name)
    atoms, weights = np.unique(np.floor(table * JITTER), return_counts=True)
    nearest = np.searchsorted((atoms[:-1] + atoms[1:]) / 2, offsets)
    is_entry = np.abs(atoms[nearest] - offsets) <= slack[nearest]
    shares = weights / len(table)
    tops = np.cumsum(shares)
    uniforms = tops[nearest] - shares[nearest] * _place(offsets, name)
    distance, p_value = inference.kolmogorov(uniforms)
    counts = np.bincount(nearest, minlength=len(atoms))
    checks = [
        exact("values not in the table", len(offsets), int((~is_entry).sum())),
        Check("Kolmogorov-Smirnov", len(offsets), 0, round(distance, 6), p_value),
        fit("each entry as often", len(offsets), inference.chi_square(counts, shares * len(offsets))),
    ]
    if name != "table":
        checks += _moments(offsets, JITTER, float((table**4).mean()))
    return Case(f"delay {name}", lambda figure: _draw(figure, name, offsets, atoms, tops), checks)


def _draw(figure: Figure, name: str, offsets: Offsets, grid: Atoms, theory: Atoms) -> None:
    """The density; and how far the distribution is from its theory, which is seen nowhere else."""
    left, right = figure.subplots(1, 2)
    is_tabled = name in ("pareto", "paretonormal", "table")
    low, high = np.quantile(offsets, [0.0005, 0.9995])
    edges = np.arange(low, high, 400_000) + 100_000 if name == "table" else np.linspace(low, high, 100)
    width = (edges[1] - edges[0]) / MILLISECOND
    shares = np.histogram(offsets, edges)[0] / len(offsets)
    left.bar(edges[:-1] / MILLISECOND, shares / width, width, align="edge", color=BLUE, label="achieved")
    place = np.searchsorted(grid, edges, side="right")
    below = np.concatenate(([0.0], theory))[place] if is_tabled else np.interp(edges, grid, theory)
    left.stairs(np.diff(below) / width, edges / MILLISECOND, color=BLACK, linewidth=0.8, label="theory")
    left.set_xlabel("offset from the constant delay (ms)")
    left.set_ylabel("density (1/ms)")
    left.legend()
    found = np.searchsorted(np.sort(offsets), grid + 0.5 + NANOSECONDS_OFF * is_tabled) / len(offsets)
    band = KOLMOGOROV / sqrt(len(offsets))
    right.axhspan(-band, band, color=SHADE, label="99 % of right links")
    right.plot(grid / MILLISECOND, found - theory, color=BLUE, linewidth=0.8, label="achieved less theory")
    right.set_ylim(-2 * band, 2 * band)
    right.set_xlim(low / MILLISECOND, high / MILLISECOND)
    right.set_xlabel("offset from the constant delay (ms)")
    right.set_ylabel("share at most so long: difference")
    right.legend()
    figure.suptitle(f"delay, {name}: jitter 10 ms", x=0.02, ha="left", fontweight="bold", fontsize=11)


def order(lab: Laboratory) -> list[Case]:
    """Kept: a packet comes when it would have, but never before the one ahead of it. No jitter: to the nanosecond."""
    packets = lab.fewer(40_000)
    plain = _config("normal")
    free, kept = (
        lab.carry(replace(plain, delay=replace(plain.delay, keep_order=keep)), packets, spacing=MILLISECOND)
        for keep in (False, True)
    )
    constant = lab.carry(LinkConfig(delay=DelayConfig(time=TIME)), packets)
    by_number = np.empty(packets, dtype=np.int64)
    by_number[free.numbers] = free.times
    expected = np.maximum.accumulate(by_number)
    checks = [
        exact("constant delay", packets, int((constant.delays != TIME).sum())),
        exact("kept order", packets, int((kept.numbers != np.arange(packets)).sum())),
        exact("times in kept order", packets, int((kept.times != expected).sum())),
    ]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for carried, colour, label in ((free, VERMILION, "free"), (kept, BLUE, "keep_order")):
            is_first = carried.numbers < 60
            axes.plot(carried.numbers[is_first], carried.delays[is_first] / MILLISECOND, ".", color=colour, label=label)
        axes.axhline(TIME / MILLISECOND, color=BLACK, linewidth=0.8)
        axes.set_xlabel("packet, one each ms")
        axes.set_ylabel("delay (ms)")
        axes.set_title("normal jitter of 10 ms, with and without keep_order")
        axes.legend()

    return [Case("keep_order", draw, checks)]


def slots(lab: Laboratory) -> list[Case]:
    """Whoever waits leaves in one burst; bursts are as far apart as is drawn, and no larger than is allowed."""
    low, high, burst = 2 * MILLISECOND, 5 * MILLISECOND, 8
    packets = lab.fewer(160_000)
    crowd = lab.carry(LinkConfig(slot=SlotConfig(min_delay=low, max_delay=high, packets=burst)), packets, spacing=0)
    openings, counts = np.unique(crowd.times, return_counts=True)
    gaps = np.diff(np.concatenate(([0], openings)))
    uniforms = (gaps - low + _place(gaps, "slot")) / (high - low + 1)
    distance, p_value = inference.kolmogorov(uniforms)
    sizes = [100 + 37 * (i % 11) for i in range(packets)]
    by_octets = lab.carry(LinkConfig(slot=SlotConfig(min_delay=low, bytes=1000)), packets, spacing=0, sizes=sizes)
    checks = [
        exact("packets in a slot", packets, int((counts != burst).sum())),
        Check("gaps: Kolmogorov-Smirnov", len(gaps), 0, round(distance, 6), p_value),
        exact("bytes in a slot", packets, int((by_octets.times != _filled(sizes, 1000, low)).sum())),
    ]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.hist(gaps / MILLISECOND, bins=60, color=BLUE, density=True)
        theory = MILLISECOND / (high - low)
        band = 2.576 / sqrt(len(gaps) / 60) * theory
        axes.axhspan(theory - band, theory + band, color=SHADE, alpha=0.6, label="99 % of a right link's bars")
        axes.axhline(theory, color=BLACK, linestyle="--", linewidth=1, label="theory")
        axes.set_xlabel("from slot to slot (ms)")
        axes.set_ylabel("density (1/ms)")
        axes.set_ylim(0, 1.6 * theory)
        axes.set_title("slots of 2 to 5 ms")
        axes.legend()

    return [Case("slot", draw, checks)]


def _filled(sizes: list[int], octets: int, apart: int) -> Offsets:
    """When each leaves: a slot is used up by the packet that reaches its octets."""
    times, slot, left = [], 1, octets
    for size in sizes:
        times.append(slot * apart)
        left -= size
        if left <= 0:
            slot, left = slot + 1, octets
    return np.array(times, dtype=np.int64)
