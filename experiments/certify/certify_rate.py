"""Rate, cells, recorded rates, queue limits, mtu: arithmetic, done here once more and compared to the nanosecond."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from certify_lab import HEADER_BYTES, NUMBER_BYTES, Case, Laboratory, exact
from matplotlib.figure import Figure

from rudp_smtp.draws import DrawKey
from rudp_smtp.experiment.figures import BLACK, BLUE, VERMILION
from rudp_smtp.link.config import LinkConfig, RateConfig
from rudp_smtp.registry import Spec
from rudp_smtp.units import MICROSECOND, MILLISECOND, SECOND

PACKETS = 40_000
ENDLESS = Spec("droptail", (("packets", 10_000_000),))
SMALLEST = HEADER_BYTES + NUMBER_BYTES
OPPORTUNITY = 1504


@dataclass(frozen=True, slots=True)
class Line:
    """A rate as it is asked for."""

    bits_per_second: int
    overhead: int = 0
    cell: int = 0
    cell_overhead: int = 0

    def octets(self, size: int) -> int:
        octets = max(0, size + self.overhead)
        if self.cell:
            octets = (octets + self.cell - 1) // self.cell * (self.cell + self.cell_overhead)
        return octets

    def config(self) -> LinkConfig:
        rate = RateConfig(
            value=self.bits_per_second,
            packet_overhead=self.overhead,
            cell_size=self.cell,
            cell_overhead=self.cell_overhead,
        )
        return LinkConfig(rate=rate, queue=ENDLESS)

    def leave(self, times: Sequence[int], sizes: Sequence[int]) -> list[int]:
        """Every packet's last bit: a busy period's bits, whole, and the fraction of a nanosecond cut off at the end."""
        left, start, free, bits = [], 0, 0, 0
        for now, size in zip(times, sizes, strict=True):
            if now > free:
                start, bits = now, 0
            bits += 8 * self.octets(size)
            free = start + bits * SECOND // self.bits_per_second
            left.append(free)
        return left


def rates(lab: Laboratory) -> list[Case]:
    lines = {
        "20 Mbit/s": Line(20_000_000),
        "999,999,937 bit/s": Line(999_999_937),
        "14 octets more": Line(10_000_000, overhead=14),
        "30 octets less": Line(3_000_000, overhead=-30),
        "ATM cells": Line(2_000_000, cell=48, cell_overhead=5),
        "ATM cells, 10 more": Line(2_000_000, overhead=10, cell=48, cell_overhead=5),
    }
    packets = lab.fewer(PACKETS)
    checks = []
    for name, line in lines.items():
        times, sizes = _traffic(packets, line.bits_per_second, name)
        found = lab.carry(line.config(), times, sizes=sizes)
        checks.append(exact(name, packets, int((found.times != np.array(line.leave(times, sizes))).sum())))
    atm = Line(8_000, cell=48, cell_overhead=5)
    alone = lab.carry(atm.config(), [0], sizes=[50])
    checks.append(exact("50 octets over ATM are 106", 1, int(alone.times[0] != 106 * MILLISECOND)))
    shown = {name: lab.carry(lines[name].config(), _apart(), sizes=_sizes()) for name in ("20 Mbit/s", "ATM cells")}

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for axes, (name, carried) in zip((left, right), shown.items(), strict=True):
            axes.plot(_sizes(), carried.delays / MICROSECOND, ".", color=BLUE, markersize=3, label="achieved")
            theory = [lines[name].octets(size) * 8e6 / lines[name].bits_per_second for size in _sizes()]
            axes.plot(_sizes(), theory, color=BLACK, linewidth=0.7, label="theory")
            axes.set_xlabel("size of the IP packet (bytes)")
            axes.set_title(name)
        left.set_ylabel("time to serialise (us)")
        left.legend()

    return [Case("rate", draw, checks), *_recorded(lab)]


def _sizes() -> list[int]:
    return list(range(SMALLEST, 500))


def _apart() -> list[int]:
    return [i * SECOND for i in range(len(_sizes()))]


def _traffic(packets: int, bits_per_second: int, name: str) -> tuple[list[int], list[int]]:
    """Sizes of every kind, at 90 % of the rate on average: busy periods and rests of every length."""
    draws = DrawKey(4, "certify", name)
    sizes = [SMALLEST + draws.below(index, 1500 - SMALLEST) for index in range(packets)]
    times, now = [], 0
    for index, size in enumerate(sizes):
        times.append(now)
        now += draws.below(index, 2 * size * 8 * SECOND * 10 // (9 * bits_per_second), 1)
    return times, sizes


def _recorded(lab: Laboratory) -> list[Case]:
    trace = (2, 2, 3, 7, 11, 11, 11, 18, 20, 31)
    packets = lab.fewer(PACKETS)
    times, sizes = _traffic(packets, len(trace) * OPPORTUNITY * 8_000 // trace[-1], "trace")
    found = lab.carry(LinkConfig(rate=RateConfig(trace=trace), queue=ENDLESS), times, sizes=sizes)
    expected = _opportunities(trace, times, sizes)
    checks = [exact("opportunities of 1504 octets", packets, int((found.times != np.array(expected)).sum()))]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        shown = found.times < 200 * MILLISECOND
        axes.step(
            found.times[shown] / MILLISECOND,
            np.cumsum(sizes)[found.numbers[shown]],
            where="post",
            color=BLUE,
            label="octets out",
        )
        offered = np.arange(0, 70)
        opens = [trace[i % len(trace)] + trace[-1] * (i // len(trace)) for i in offered]
        axes.step(
            opens, OPPORTUNITY * (offered + 1), where="post", color=BLACK, linewidth=0.8, label="room in the trace"
        )
        axes.set_xlim(0, 200)
        axes.set_ylim(0, OPPORTUNITY * 70)
        axes.set_xlabel("time (ms)")
        axes.set_ylabel("octets")
        axes.set_title("a recorded rate, repeated every 31 ms")
        axes.legend()

    return [Case("recorded rate", draw, checks)]


def _opportunities(trace: Sequence[int], times: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """One opportunity after the other, each offered to whoever is there: slow, and plainly so."""
    left: list[int] = []
    number, room, opened = -1, 0, -1
    free = 0
    for now, size in zip(times, sizes, strict=True):
        ready = max(now, free)
        rest = size
        if opened < ready:
            room = 0  # nobody was there
        while rest > 0:
            used = min(room, rest)
            room, rest = room - used, rest - used
            if rest:
                while True:
                    number += 1
                    opened = (trace[number % len(trace)] + trace[-1] * (number // len(trace))) * MILLISECOND
                    if opened >= ready:
                        break
                room = OPPORTUNITY
        free = opened
        left.append(free)
    return left


# Limits.


def limits(lab: Laboratory) -> list[Case]:
    rate = RateConfig(value=1_000_000)
    bursts = range(1, 60)
    queues = {
        "droptail, 10 packets": (Spec("droptail", (("packets", 10),)), 10),
        "codel, 10 packets": (Spec("codel", (("packets", 10),)), 10),
        "pie, 10 packets": (Spec("pie", (("packets", 10),)), 10),
        "red, 5000 bytes of 500": (
            Spec("red", (("limit", 5000), ("max", 2000), ("min", 1000), ("weight_shift", 30))),
            10,
        ),
        "droptail, 5000 bytes of 500": (Spec("droptail", (("limit", 5000),)), 10),
        "droptail, 5000 bytes of 700": (Spec("droptail", (("limit", 5000),)), 7),
    }
    survivors: dict[str, list[int]] = {}
    checks = []
    for name, (queue, room) in queues.items():
        size = 700 if name.endswith("700") else 500
        survivors[name] = [
            len(lab.carry(LinkConfig(rate=rate, queue=queue), burst, spacing=0, sizes=[size] * burst).times)
            for burst in bursts
        ]
        expected = [min(burst, room + 1) for burst in bursts]  # the one being serialised has left the queue
        checks.append(exact(name, sum(bursts), sum(a != b for a, b in zip(survivors[name], expected, strict=True))))
    sizes = list(range(SMALLEST, 1501))
    through = lab.carry(LinkConfig(mtu=1300), len(sizes), sizes=sizes).numbers
    checks.append(
        exact("mtu of 1300", len(sizes), len(set(through.tolist()) ^ {i for i, s in enumerate(sizes) if s <= 1300}))
    )

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        shown = ("droptail, 10 packets", "droptail, 5000 bytes of 700")
        for name, colour, room in zip(shown, (BLUE, VERMILION), (10, 7), strict=True):
            axes.plot(bursts, survivors[name], ".", color=colour, label=name)
            axes.plot(bursts, [min(burst, room + 1) for burst in bursts], color=colour, linewidth=0.8)
        axes.set_xlabel("packets at once")
        axes.set_ylabel("packets that arrive")
        axes.set_title("queue limits: points are achieved, lines theory")
        axes.legend()

    return [Case("limits", draw, checks)]
