"""Reordering, duplication, corruption."""

from fractions import Fraction
from math import comb, sqrt

import certify_inference as inference
import numpy as np
from certify_lab import NUMBER_BYTES, Case, Laboratory, exact, fit
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rudp_smtp.experiment.figures import BLACK, BLUE, GREY, SHADE
from rudp_smtp.link.config import CorruptConfig, DelayConfig, LinkConfig, ReorderConfig
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, parse_probability

APART = MILLISECOND  # from packet to packet
BEHIND = 5  # places that a packet held back falls behind


def reorder(lab: Laboratory) -> list[Case]:
    return [_held(lab), _gaps(lab)]


def _held(lab: Laboratory) -> Case:
    """RFC 5236's density: where packets arrive less where they were sent, in places."""
    p = parse_probability("10%")
    theory = Fraction(p, PROBABILITY_ONE)
    hold = BEHIND * APART + APART // 2
    packets = lab.packets(theory)
    config = LinkConfig(delay=DelayConfig(time=APART), reorder=ReorderConfig(probability=p, hold=hold))
    carried = lab.carry(config, packets, spacing=APART)
    places = np.arange(packets)
    displacement = np.empty(packets, dtype=np.int64)
    displacement[carried.numbers] = places - carried.numbers
    is_late = carried.delays > APART
    inside = displacement[BEHIND:-BEHIND]
    law = displacement_law(float(theory))
    independent = inside[:: 2 * BEHIND + 1]  # a packet's place depends on its neighbours so far
    counts = [int((independent == d).sum()) for d in law]
    outside = int(np.count_nonzero(np.abs(inside) > BEHIND))
    checks = [
        lab.share("held back", int(is_late.sum()), packets, theory),
        exact("held back by other than asked", packets, int((carried.delays[is_late] != APART + hold).sum())),
        exact("displaced by more than it can be", packets, outside),
        fit(
            "density (RFC 5236)",
            len(independent),
            inference.chi_square(counts, [len(independent) * s for s in law.values()]),
        ),
    ]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        shares = [float(np.mean(inside == d)) for d in law]
        axes.bar(np.array(list(law)) - 0.2, list(law.values()), 0.4, color=GREY, label="theory")
        axes.bar(np.array(list(law)) + 0.2, shares, 0.4, color=BLUE, label="achieved")
        axes.set_yscale("log")
        axes.set_xlabel("displacement (places; late is positive)")
        axes.set_ylabel("share of the packets")
        axes.set_title("reorder density (RFC 5236): 10 % held back by 5 places")
        axes.legend()

    return Case("reorder, hold", draw, checks)


def displacement_law(p: float) -> dict[int, float]:
    """A packet gains a place for each of the BEHIND before it that is held; one held loses BEHIND, less those after."""
    law = dict.fromkeys(range(-BEHIND, BEHIND + 1), 0.0)
    for held in range(BEHIND + 1):
        share = comb(BEHIND, held) * p**held * (1 - p) ** (BEHIND - held)
        law[-held] += (1 - p) * share
        law[BEHIND - held] += p * share
    return law


def _gaps(lab: Laboratory) -> Case:
    """netem's way: the packet skips the delay; after it gap - 1 packets are safe."""
    p, gap, time = parse_probability("20%"), 4, 50 * MILLISECOND
    theory = Fraction(p, PROBABILITY_ONE)
    packets = 2 * lab.packets(theory)
    config = LinkConfig(delay=DelayConfig(time=time), reorder=ReorderConfig(probability=p, gap=gap))
    carried = lab.carry(config, packets, spacing=APART)
    delays = np.empty(packets, dtype=np.int64)
    delays[carried.numbers] = carried.delays
    skipped = np.flatnonzero(delays == 0)
    waits = np.diff(skipped) - (gap - 1)
    candidates = int(waits[waits > 0].sum())
    law = np.array([float(theory) * (1 - float(theory)) ** k for k in range(60)])
    counts = np.bincount(np.minimum(np.maximum(waits, 1), 61), minlength=62)[1:]
    checks = [
        exact("delays other than none or all", packets, int(((delays != 0) & (delays != time)).sum())),
        exact("displaced inside a gap", packets, int((waits < 1).sum())),
        lab.share("displaced, of those outside gaps", len(waits), candidates, theory),
        fit(
            "candidates until the next: geometric",
            len(waits),
            inference.chi_square(counts, np.append(law, 1 - law.sum()) * len(waits)),
        ),
    ]
    expected = law[:25]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        found = [float(np.mean(np.diff(skipped) == gap - 1 + k)) for k in range(1, 26)]
        axes.bar(np.arange(gap, gap + 25), found, color=BLUE, label="achieved")
        axes.plot(np.arange(gap, gap + 25), expected, ".", color=BLACK, label="theory")
        axes.axvspan(0.5, gap - 0.5, color="#eeeeee", label="gap")
        axes.set_xlabel("packets from one displaced to the next")
        axes.set_ylabel("share")
        axes.set_title("reorder, 20 % with a gap of 4")
        axes.legend()

    return Case("reorder, gap", draw, checks)


def duplicate(lab: Laboratory) -> list[Case]:
    """A copy has a fate of its own: it is lost behind the rate whether or not the original is."""
    p, loss = parse_probability("10%"), parse_probability("30%")
    theory, lost = Fraction(p, PROBABILITY_ONE), Fraction(loss, PROBABILITY_ONE)
    packets = lab.packets(theory)
    plain = lab.carry(LinkConfig(duplicate=p), packets)
    counts = np.bincount(plain.numbers, minlength=packets)
    lossy = LinkConfig(duplicate=PROBABILITY_ONE, loss=Spec("random", (("p", loss),)), where="egress")
    arrived = np.bincount(lab.carry(lossy, packets).numbers, minlength=packets)
    law = [float(lost**2), float(2 * lost * (1 - lost)), float((1 - lost) ** 2)]
    seen = np.bincount(arrived, minlength=3)
    checks = [
        lab.share("duplicated", int((counts == 2).sum()), packets, theory),
        exact("other than one or two of a packet", packets, int(((counts != 1) & (counts != 2)).sum())),
        fit("0, 1, 2 arrive of two at 30 % loss", packets, inference.chi_square(seen, np.array(law) * packets)),
    ]
    places = np.flatnonzero(counts == 2)
    gaps = np.diff(places)
    geometric = [float(theory * (1 - theory) ** k) for k in range(300)]
    spread = np.bincount(np.minimum(gaps, 301), minlength=302)[1:]
    whole = np.append(geometric, 1 - sum(geometric)) * len(gaps)
    checks.append(fit("from one to the next: geometric", len(gaps), inference.chi_square(spread, whole)))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.bar(np.arange(3) - 0.2, law, 0.4, color=GREY, label="theory: independent")
        axes.bar(np.arange(3) + 0.2, seen / packets, 0.4, color=BLUE, label="achieved")
        axes.set_xticks(range(3))
        axes.set_xlabel("arrive, of a packet and its copy, each lost with 30 %")
        axes.set_ylabel("share of the packets")
        axes.set_title("a copy has a fate of its own")
        axes.legend()

    return [Case("duplicate", draw, checks)]


def corrupt(lab: Laboratory) -> list[Case]:
    """So many packets, so many bits in each, anywhere."""
    p, bits = parse_probability("10%"), 3
    theory = Fraction(p, PROBABILITY_ONE)
    packets = lab.packets(theory)
    config = LinkConfig(corrupt=CorruptConfig(probability=p, bits=bits))
    size = 28 + 2 * NUMBER_BYTES  # its number, and as much again that was zero
    data = lab.carry(config, packets, sizes=[size] * packets, keeps_data=True).data
    damage = [_damage(index, octets) for index, octets in enumerate(data)]
    flipped = np.array([bin(value).count("1") for value in damage])
    length = 8 * 2 * NUMBER_BYTES
    places = _places([value for value in damage if value], length)
    damaged = int((flipped > 0).sum())
    checks = [
        lab.share("corrupted", damaged, packets, theory),
        exact("other than three bits flipped", packets, int(((flipped != 0) & (flipped != bits)).sum())),
        fit("every bit as often", damaged, inference.chi_square(places, np.full(length, damaged * bits / length))),
    ]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.bar(range(length), places, width=1.0, color=BLUE, label="achieved")
        mean = damaged * bits / length
        half = 2.576 * sqrt(mean)
        axes.axhspan(mean - half, mean + half, color=SHADE, alpha=0.6, label="99 % of a right link's bars")
        axes.axhline(mean, color=BLACK, linestyle="--", linewidth=1, label="theory")
        axes.set_ylim(0, 1.6 * mean)
        axes.set_xlabel("bit of the datagram")
        axes.set_ylabel("times flipped")
        axes.set_title("where corrupted datagrams are: 3 bits of 128 in 10 % of them")
        axes.legend()

    return [Case("corrupt", draw, checks)]


def _damage(index: int, octets: bytes) -> int:
    """The bits that differ; packets arrive in order here."""
    return int.from_bytes(octets, "big") ^ index << 8 * NUMBER_BYTES


def _places(damage: list[int], length: int) -> NDArray[np.int64]:
    counts = np.zeros(length, dtype=np.int64)
    for value in damage:
        rest = value
        while rest:
            lowest = rest & -rest
            counts[length - lowest.bit_length()] += 1
            rest ^= lowest
    return counts
