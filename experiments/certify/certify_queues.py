"""Active queues: red, pie and fq_codel, each against its paper's arithmetic, written here once more in plain numbers.

Which packets arrive, and when, tells what waited as each packet came; from that follows the chance it ought to have had
(RED, PIE). Given all that was before it, the packet's fate is a throw with that chance, so fates less chances have no
memory: their sum over the root of their variances is normal, and so it is over any part of them that is chosen by
what was before. fq_codel leaves nothing to chance.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import certify_inference as inference
import numpy as np
from certify_lab import HEADER_BYTES, NUMBER_BYTES, Case, Check, Laboratory, exact, fit
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rudp_smtp.datagram import CE, ECT_0, Label
from rudp_smtp.draws import DrawKey
from rudp_smtp.experiment.figures import BLACK, BLUE, VERMILION
from rudp_smtp.link.config import LinkConfig, RateConfig
from rudp_smtp.registry import Spec
from rudp_smtp.units import MICROSECOND, MILLISECOND, PROBABILITY_ONE, SECOND

RATE = 10_000_000
SIZE = 1000
SERVICE = SIZE * 8 * SECOND // RATE
PACKETS = 60_000
BINS = 8
ONE_FLOW = Label("client", "server", ECT_0)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Passage:
    """What became of each packet: when it left, -1 if it never did, and whether it was marked."""

    times: Sequence[int]
    sizes: Sequence[int]
    left: NDArray[np.int64]
    marked: NDArray[np.bool_]

    @property
    def lost(self) -> NDArray[np.bool_]:
        return self.left < 0

    @property
    def starts(self) -> list[int]:
        """When the transmitter took each out of the queue; -1 as above. In the order they came."""
        return [left - SERVICE if left >= 0 else -1 for left in self.left.tolist()]


def pass_through(
    lab: Laboratory, queue: Spec, times: Sequence[int], labels: Sequence[Label], sizes: Sequence[int]
) -> Passage:
    link = lab.build(LinkConfig(rate=RateConfig(value=RATE), queue=queue))
    left = np.full(len(times), -1, dtype=np.int64)
    marked = np.zeros(len(times), dtype=np.bool_)

    def drain(until: int | None) -> None:
        while (due := link.next_timeout()) is not None and (until is None or due <= until):
            while (arrived := link.next_datagram(due)) is not None:
                number = int.from_bytes(arrived[0][:NUMBER_BYTES], "big")
                left[number] = due
                marked[number] = arrived[1].ecn == CE

    for number, now in enumerate(times):
        drain(now)
        padding = bytes(sizes[number] - HEADER_BYTES - NUMBER_BYTES)
        link.push(number.to_bytes(NUMBER_BYTES, "big") + padding, now, labels[number])
    drain(None)
    return Passage(times, sizes, left, marked)


def arrivals(packets: int, load: Sequence[float], name: str) -> list[int]:
    """Random times, so many packets for each that the line can take; `load` is that of each part of them in turn."""
    draws = DrawKey(5, "certify", name)
    times, now = [], 0
    for index in range(packets):
        times.append(now)
        mean = int(SERVICE / load[index * len(load) // packets])
        now += 1 + draws.below(index, 2 * mean)
    return times


@dataclass(frozen=True, slots=True)
class Throws:
    """Each packet's chance and fate, in the order they were thrown, and what the chance depended on."""

    chances: Floats
    fates: NDArray[np.bool_]
    state: Floats

    @property
    def variances(self) -> Floats:
        return self.chances * (1 - self.chances)

    def sum(self, what: str) -> Check:
        """That as many happened as their chances come to."""
        count = len(self.chances)
        due, spread = float(self.chances.sum()), float(self.variances.sum()) ** 0.5
        happened = int(self.fates.sum())
        p_value = inference.normal((happened - due) / spread) if spread else 0.0
        return Check(what, count, due / max(count, 1), happened / max(count, 1), p_value)

    def by_state(self, what: str) -> Check:
        """The same for each part of the states, of equal variance, which is enough of it for a normal sum."""
        order = np.argsort(self.state, kind="stable")
        reached = np.cumsum(self.variances[order])
        bins = max(1, min(BINS, int(reached[-1] / inference.CELL_MIN))) if len(reached) else 0
        statistic = 0.0
        for part in np.split(order, np.searchsorted(reached, [reached[-1] * k / bins for k in range(1, bins)])):
            due, variance = float(self.chances[part].sum()), float(self.variances[part].sum())
            statistic += (float(self.fates[part].sum()) - due) ** 2 / variance
        return fit(what, len(order), (statistic, bins, inference.chi_square_share(statistic, bins) if bins else 0.0))

    def gaps(self, what: str, name: str) -> Check:
        """That what happens is as far from what happened before as the chances make it."""
        draws = DrawKey(6, "certify", name)
        uniforms, survival = [], 1.0
        for index, (chance, fate) in enumerate(zip(self.chances.tolist(), self.fates.tolist(), strict=True)):
            ended = survival * (1 - chance)
            if fate:
                within = draws.draw(index) / PROBABILITY_ONE
                uniforms.append(1 - survival + within * (survival - ended))
            survival = 1.0 if fate else ended
        if not uniforms:
            return Check(what, 0, 0, 1, 0.0)
        distance, p_value = inference.kolmogorov(np.array(uniforms))
        return Check(what, len(uniforms), 0, distance, p_value)


# RED (Floyd and Jacobson 1993, figure 2).

RED_LOW, RED_HIGH, RED_CHANCE, RED_SHIFT = 10_000, 30_000, 0.1, 7
RED_LOADS = (1.05, 1.2, 0.9, 1.1, 0.8, 1.3, 1.02)
NEAR = 2  # octets: the average of a link is in whole numbers


def red(lab: Laboratory) -> list[Case]:
    packets = lab.fewer(PACKETS)
    checks, shown = [], None
    for is_marking in (False, True):
        times = arrivals(packets, RED_LOADS, f"red {is_marking}")
        queue = Spec(
            "red",
            (
                ("ecn", is_marking),
                ("max", RED_HIGH),
                ("min", RED_LOW),
                ("packet_time", SERVICE),
                ("probability", round(RED_CHANCE * PROBABILITY_ONE)),
                ("weight_shift", RED_SHIFT),
            ),
        )
        passage = pass_through(lab, queue, times, [ONE_FLOW] * packets, [SIZE] * packets)
        fates = passage.marked if is_marking else passage.lost
        averages = _averages(passage)
        chances = _red_chances(averages, passage.marked | passage.lost)
        name = "marked" if is_marking else "dropped"
        low, high = averages < RED_LOW - NEAR, averages >= RED_HIGH + NEAR
        between = ~low & ~high & ~(averages < RED_LOW + NEAR) & ~(averages >= RED_HIGH - NEAR)
        throws = Throws(chances[between], fates[between], averages[between])
        checks += [
            exact(f"none {name} below min", int(low.sum()), int((passage.marked | passage.lost)[low].sum())),
            exact(f"all dropped above max, ecn {is_marking}", int(high.sum()), int((~passage.lost)[high].sum())),
            throws.sum(f"{name} between"),
            throws.by_state(f"{name}, by the average"),
            throws.gaps(f"{name}: distances, Kolmogorov-Smirnov", f"red {is_marking}"),
        ]
        shown = shown or throws
    assert shown is not None
    return [Case("red", _drawing(shown, "average of the queue (octets)", "RED: share dropped"), checks)]


def _averages(passage: Passage) -> Floats:
    """What each packet found on average. An empty queue counts as so many packets' times of nothing."""
    weight = 0.5**RED_SHIFT
    waiting: deque[int] = deque()  # when each leaves the queue
    average, idle_since, averages = 0.0, -1, []
    for now, start in zip(passage.times, passage.starts, strict=True):
        while waiting and waiting[0] <= now:
            last = waiting.popleft()
            if not waiting:
                idle_since = last
        if waiting or idle_since < 0:
            average += (SIZE * len(waiting) - average) * weight
        else:
            average *= (1 - weight) ** ((now - idle_since) // SERVICE)
            idle_since = now
        averages.append(average)
        if start >= 0:
            waiting.append(start)
    return np.array(averages)


def _red_chances(averages: Floats, taken: NDArray[np.bool_]) -> Floats:
    """p_b / (1 - count p_b), where count is of packets since the last that was dropped or marked."""
    chances, count = [], -1
    for average, is_taken in zip(averages.tolist(), taken.tolist(), strict=True):
        share = RED_CHANCE * (average - RED_LOW) / (RED_HIGH - RED_LOW)
        if average < RED_LOW:
            count, chance = -1, 0.0
        elif average >= RED_HIGH:
            count, chance = 0, 1.0
        else:
            count += 1
            rest = 1 - count * share
            chance = 1.0 if rest <= share else share / rest
            count = 0 if is_taken else count
        chances.append(chance)
    return np.array(chances)


# PIE (RFC 8033).

PIE_TARGET = PIE_UPDATE = 15 * MILLISECOND
PIE_BURST = 150 * MILLISECOND
PIE_LOADS = (1.02, 1.1, 0.85, 1.2, 1.05, 0.7, 1.3)
MARKS_TO = 0.1  # section 5.1: above this chance ECN saves nobody


def pie(lab: Laboratory) -> list[Case]:
    packets = lab.fewer(PACKETS)
    checks, shown = [], None
    for is_marking in (False, True):
        times = arrivals(packets, PIE_LOADS, f"pie {is_marking}")
        queue = Spec("pie", (("ecn", is_marking), ("max_burst", PIE_BURST), ("target", PIE_TARGET)))
        passage = pass_through(lab, queue, times, [ONE_FLOW] * packets, [SIZE] * packets)
        fates = passage.marked | passage.lost
        controller = _Controller(passage)
        told = list(controller.throws(fates))
        chances = np.array([chance for chance, _ in told])
        levels = np.array([level for _, level in told])
        is_open = (chances > 0) & (chances < 1)
        throws = Throws(chances[is_open], fates[is_open], levels[is_open])
        name = "marked" if is_marking else "dropped"
        checks += [
            exact(f"none {name} that may not be", int((chances == 0).sum()), int(fates[chances == 0].sum())),
            throws.sum(name),
            throws.by_state(f"{name}, by the chance after each update"),
            throws.gaps(f"{name}: distances, Kolmogorov-Smirnov", f"pie {is_marking}"),
        ]
        if is_marking:
            wrong = passage.marked & (levels > MARKS_TO) | passage.lost & (levels <= MARKS_TO)
            checks.append(exact("marked up to 10 %, dropped above", int(fates.sum()), int(wrong.sum())))
        shown = shown or throws
    assert shown is not None
    return [Case("pie", _drawing(shown, "chance after the last update", "PIE: share dropped"), checks)]


class _Controller:
    """Section 4.2's variables, from the packets' delays."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage
        self._chance = self._sum = 0.0
        self._delay = self._old = 0.0  # seconds
        self._burst = PIE_BURST
        self._update_at = passage.times[0] + PIE_UPDATE
        self._waiting: deque[tuple[int, int]] = deque()  # when each leaves the queue, and when it came

    def throws(self, fates: NDArray[np.bool_]) -> Iterator[tuple[float, float]]:
        """Each packet's chance to be dropped or marked, and drop_prob as it was then."""
        passage = self._passage
        for now, start, fate in zip(passage.times, passage.starts, fates.tolist(), strict=True):
            self._advance(now)
            chance = self._chance_now()
            if fate:
                self._sum = 0.0
            yield chance, self._chance
            if start >= 0:
                self._waiting.append((start, now))

    def _advance(self, now: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            start, came = waiting.popleft()
            self._update(start)
            self._delay = (start - came) / SECOND if waiting else 0.0
        self._update(now)

    def _chance_now(self) -> float:
        target = PIE_TARGET / SECOND
        if self._burst or (self._old < target / 2 and self._chance < 0.2) or SIZE * len(self._waiting) <= 2048:
            return 0.0
        self._sum = self._sum + self._chance if self._chance else 0.0
        if self._sum < 0.85:
            return 0.0
        return 1.0 if self._sum >= 8.5 else self._chance

    def _update(self, now: int) -> None:
        target = PIE_TARGET / SECOND
        while self._update_at <= now:
            self._update_at += PIE_UPDATE
            step = 0.125 * (self._delay - target) + 1.25 * (self._delay - self._old)
            for bound, factor in ((1e-6, 2048), (1e-5, 512), (1e-4, 128), (1e-3, 32), (1e-2, 8), (1e-1, 2)):
                if self._chance < bound:
                    step /= factor
                    break
            if self._chance >= 0.1:
                step = min(step, 0.02)
            self._chance += step
            if self._delay == 0 and self._old == 0:
                self._chance *= 0.98
            self._chance = min(1.0, max(0.0, self._chance))
            is_calm = self._chance == 0 and self._delay < target / 2 and self._old < target / 2
            self._burst = PIE_BURST if is_calm else max(0, self._burst - PIE_UPDATE)
            self._old = self._delay


# fq_codel (RFC 8290).

QUANTUM = 1514
FLOWS = tuple(Label(f"flow {name}", "server", ECT_0) for name in "ABCDEF")
UNCONTROLLED = (("interval", 7200 * SECOND), ("target", 3600 * SECOND))  # CoDel's own law has its say elsewhere


def fq_codel(lab: Laboratory) -> list[Case]:
    shares, served = _shares(lab)
    checks = [*_fattest(lab), *shares, *_sparse(lab)]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for label, colour, (times, octets) in zip("ABC", (BLUE, VERMILION, BLACK), served, strict=True):
            axes.step(times / MILLISECOND, octets / 1000, where="post", color=colour, label=f"flow {label}")
        axes.set_xlabel("time (ms)")
        axes.set_ylabel("served (kB)")
        axes.set_title("fq_codel: packets of 1500, 700 and 300 octets, as many octets for each")
        axes.legend()

    return [Case("fq_codel", draw, checks)]


def _fattest(lab: Laboratory) -> list[Check]:
    """Bursts beyond the limit: whose packets go, and which."""
    checks = []
    for limit, counts in ((100, (300, 10, 5)), (50, (40, 30, 20)), (200, (150, 149, 400))):
        flows = [flow for flow, count in enumerate(counts) for _ in range(count)]
        order = DrawKey(7, "certify", str(limit))
        flows = [flow for _, flow in sorted((order.draw(place), flow) for place, flow in enumerate(flows))]
        queue = Spec("fq_codel", (*UNCONTROLLED, ("packets", limit)))
        passage = pass_through(lab, queue, [0] * len(flows), [FLOWS[flow] for flow in flows], [SIZE] * len(flows))
        expected = _survivors(flows, limit)
        found = set(np.flatnonzero(~passage.lost).tolist())
        checks.append(exact(f"limit of {limit} over {'+'.join(map(str, counts))}", len(flows), len(found ^ expected)))
    return checks


def _survivors(flows: Sequence[int], limit: int) -> set[int]:
    """Section 4.1.3: when all are too many, half of the fattest flow goes from its head, but 64 packets at most."""
    queues: dict[int, list[int]] = {}
    kept = {0}  # is on the line at once
    for number, flow in enumerate(flows[1:], start=1):
        queues.setdefault(flow, []).append(number)
        if sum(map(len, queues.values())) > limit:
            fattest = max(queues.values(), key=len)
            del fattest[: min(64, (len(fattest) + 1) // 2)]
    return kept.union(*queues.values())


def _shares(lab: Laboratory) -> tuple[list[Check], list[tuple[NDArray[np.int64], NDArray[np.int64]]]]:
    """Deficit round robin: while all have something to send, none is further behind than a quantum and a packet."""
    sizes = (1500, 700, 300)
    per_flow = lab.fewer(20_000)
    counts = [per_flow * 300 // size for size in sizes]
    flows = [flow for flow, count in enumerate(counts) for _ in range(count)]
    queue = Spec("fq_codel", (*UNCONTROLLED, ("packets", 1_000_000)))
    times, labels = [0] * len(flows), [FLOWS[flow] for flow in flows]
    passage = pass_through(lab, queue, times, labels, [sizes[flow] for flow in flows])
    order = np.argsort(passage.left, kind="stable")
    octets = np.zeros((3, len(order)), dtype=np.int64)
    for place, number in enumerate(order.tolist()):
        octets[flows[number], place] = sizes[flows[number]]
    octets = octets.cumsum(axis=1)
    totals = [size * count for size, count in zip(sizes, counts, strict=True)]
    is_busy = np.all([octets[flow] < totals[flow] for flow in range(3)], axis=0)
    spread = (octets.max(axis=0) - octets.min(axis=0))[is_busy]
    checks = [exact("no flow is ahead of another", len(spread), int((spread > QUANTUM + 2 * max(sizes)).sum()))]
    for flow, size in enumerate(sizes):
        share = Fraction(int(octets[flow][is_busy][-1]), int(octets[:, is_busy][:, -1].sum()))
        bound = (QUANTUM + 2 * max(sizes)) / float(octets[:, is_busy][:, -1].sum())
        is_fair = abs(float(share) - 1 / 3) <= bound
        checks.append(Check(f"share of packets of {size} octets", counts[flow], 1 / 3, float(share), float(is_fair)))
    shown = passage.left[order] < 200 * MILLISECOND
    served = [(passage.left[order][shown], octets[flow][shown]) for flow in range(3)]
    return checks, served


def _sparse(lab: Laboratory) -> list[Check]:
    """A new flow comes first, whatever five others have waiting, who take seven to eight packets' times for a round."""
    packets = lab.fewer(40_000)
    flood = [(index * SERVICE // 2, 1 + index % 5) for index in range(packets)]
    sparse = [(index * 20 * SERVICE + 123 * MICROSECOND, 0) for index in range(packets // 45)]
    sent = sorted(flood + sparse)
    queue = Spec("fq_codel", (*UNCONTROLLED, ("packets", 1_000_000)))
    labels = [FLOWS[flow] for _, flow in sent]
    passage = pass_through(lab, queue, [time for time, _ in sent], labels, [SIZE] * len(sent))
    waits = [
        passage.left[number] - SERVICE - time
        for number, (time, flow) in enumerate(sent)
        if flow == 0 and passage.left[number] >= 0
    ]
    late = sum(wait > SERVICE for wait in waits) + len(sparse) - len(waits)
    return [exact("a sparse flow waits for the packet on the line only", len(sparse), late)]


# Figures.


def _drawing(throws: Throws, axis: str, title: str) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        parts = np.array_split(np.argsort(throws.state, kind="stable"), 3 * BINS)
        states = [float(throws.state[part].mean()) for part in parts if len(part)]
        for values, form, colour, label in (
            (throws.fates, ".", BLUE, "achieved"),
            (throws.chances, "-", BLACK, "theory"),
        ):
            means = [float(values[part].mean()) for part in parts if len(part)]
            axes.plot(states, means, form, color=colour, linewidth=0.8, label=label)
        axes.set_xlabel(axis)
        axes.set_ylabel("share of arrivals")
        axes.set_title(title)
        axes.legend()

    return draw
