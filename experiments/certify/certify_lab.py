"""Packets through a link with nothing around it, and what a case has to say of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, sqrt
from statistics import NormalDist

import certify_inference as inference
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rudp_smtp.draws import DrawKey
from rudp_smtp.experiment.statistics import UNKNOWN, Interval, Number, proportion_interval
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.link.link import Link

LEVEL = Fraction(99, 100)
PRECISION, PRECISION_QUICK = 0.02, 0.1  # half of an interval's width, by the share it is about
HEADER_BYTES = 28
SPACING = 1_000  # ns from packet to packet, where nothing depends on it
NUMBER_BYTES = 8
MARGIN = 1.03  # an exact interval is a little wider than the normal one that the packets are reckoned by

Build = Callable[[LinkConfig], Link]

_Z = NormalDist().inv_cdf(float((1 + LEVEL) / 2))
_DRAIN_EVERY = 4096  # packets: in flight meanwhile


@dataclass(frozen=True, slots=True)
class Check:
    """One statement about a model: what theory says, what was counted, and how likely that is if the theory holds."""

    what: str
    packets: int  # it was made from
    theoretical: Number
    achieved: Number
    p_value: float  # 1 or 0 where nothing is left to chance
    interval: Interval = UNKNOWN
    is_precise: bool = True


@dataclass(slots=True)
class Case:
    """A model's checks, and a figure of what they were made from."""

    model: str
    draw: Callable[[Figure], None]
    checks: list[Check] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Carried:
    """What arrived, in order of arrival, and when each packet had been sent."""

    sent: NDArray[np.int64]
    times: NDArray[np.int64]
    numbers: NDArray[np.int64]
    data: list[bytes]

    @property
    def lost(self) -> NDArray[np.bool_]:
        fates = np.ones(len(self.sent), dtype=np.bool_)
        fates[self.numbers] = False
        return fates

    @property
    def delays(self) -> NDArray[np.int64]:
        return self.times - self.sent[self.numbers]


def honest(config: LinkConfig) -> Link:
    return Link(config, name="certified", draws=DrawKey(1, "certify"))


@dataclass(frozen=True, slots=True)
class Laboratory:
    """Makes links and sends packets through them. `build` is ours, or another to see whether it is found out."""

    is_quick: bool = False
    build: Build = honest

    @property
    def precision(self) -> float:
        return PRECISION_QUICK if self.is_quick else PRECISION

    def packets(self, mean: Fraction, variance_ratio: float = 1.0) -> int:
        """How many it takes to bound a share this well."""
        wanted = (_Z / self.precision) ** 2 * float((1 - mean) / mean) * variance_ratio * MARGIN
        return ceil(wanted / 1000) * 1000

    def fewer(self, packets: int) -> int:
        return packets // 20 if self.is_quick else packets

    def carry(
        self,
        config: LinkConfig,
        times: Sequence[int] | int,
        *,
        spacing: int = SPACING,
        sizes: Sequence[int] | None = None,
        keeps_data: bool = False,
    ) -> Carried:
        """Send a datagram at each of the times, or so many one after the other; each tells its number, big end first.

        `sizes` are of the IP packets.
        """
        link = self.build(config)
        sent = [spacing * number for number in range(times)] if isinstance(times, int) else times
        arrivals: list[tuple[int, bytes]] = []
        for number, now in enumerate(sent):
            room = NUMBER_BYTES if sizes is None else sizes[number] - HEADER_BYTES
            link.push(number.to_bytes(NUMBER_BYTES, "big") + bytes(room - NUMBER_BYTES), now)
            if number % _DRAIN_EVERY == 0:
                _drain(link, now, arrivals)
        _drain(link, None, arrivals)
        whole = [int.from_bytes(data[:NUMBER_BYTES], "big") for _, data in arrivals] if not keeps_data else []
        return Carried(
            sent=np.array(sent, dtype=np.int64),
            times=np.array([time for time, _ in arrivals], dtype=np.int64),
            numbers=np.array(whole, dtype=np.int64),
            data=[data for _, data in arrivals] if keeps_data else [],
        )

    def share(self, what: str, happened: int, trials: int, theory: Fraction, *, variance_ratio: float = 1.0) -> Check:
        """That a share is what it should be; exactly binomial, unless the trials depend on each other."""
        if trials == 0:
            return Check(what, 0, float(theory), 0, 0.0)  # what was to be tried never was
        interval = proportion_interval(happened, trials, LEVEL, variance_ratio)
        if variance_ratio == 1:
            p_value = inference.binomial(happened, trials, theory)
        else:
            deviation = sqrt(float(theory * (1 - theory)) * variance_ratio / trials)
            p_value = inference.normal((happened / trials - float(theory)) / deviation)
        due = proportion_interval(round(trials * theory), trials, LEVEL, variance_ratio)
        assert due.low is not None
        assert due.high is not None
        is_precise = (due.high - due.low) / 2 <= self.precision * float(theory)
        return Check(what, trials, float(theory), happened / trials, p_value, interval, is_precise)


def _drain(link: Link, until: int | None, arrivals: list[tuple[int, bytes]]) -> None:
    while (deadline := link.next_timeout()) is not None and (until is None or deadline <= until):
        while (arrived := link.next_datagram(deadline)) is not None:
            arrivals.append((deadline, arrived[0]))


def exact(what: str, packets: int, differing: int) -> Check:
    """That nothing differs from what arithmetic says, in no packet and by no nanosecond."""
    return Check(what, packets, 0, differing, float(differing == 0))


def fit(what: str, packets: int, outcome: tuple[float, int, float]) -> Check:
    """A chi-square test: its statistic beside what it comes to in the mean, its degrees of freedom."""
    statistic, degrees, p_value = outcome
    return Check(what, packets, degrees, round(statistic, 2), p_value)
