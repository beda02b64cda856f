"""Did a link do what it was asked? One certificate for each impairment: theory beside what was counted.

Theory is the model's own formula, over all that a run's events made of the link. The interval is where theory must lie
if the link is right, but once in a hundred times: exact where nothing is left to chance, binomial (Clopper and Pearson)
where packets are independent, as of fewer packets where losses come in bursts, and for a mean delay normal, corrected
for skewness (Cornish and Fisher). `agrees` is said only of an interval that could have excluded half as much again.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from statistics import NormalDist

from rudp_smtp.experiment.build import LinkFacts
from rudp_smtp.experiment.statistics import DIGITS, UNKNOWN, Interval, Number, proportion_interval
from rudp_smtp.link.bursts import capped_share, capped_variance_ratio
from rudp_smtp.link.config import DelayConfig, LinkConfig
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS
from rudp_smtp.link.loss import LOSS_MODELS
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND

LEVEL = Fraction(99, 100)
AGREES, DISAGREES, TOO_FEW = "agrees", "disagrees", "too few packets"
DELAYS_MIN = 30  # fewer have no normal mean
SKEWNESS_MAX = 0.33  # of a sum of delays: so far `pareto` leaves its interval as often as is said (500 packets)

_Z = NormalDist().inv_cdf(float((1 + LEVEL) / 2))


@dataclass(frozen=True, slots=True)
class Certificate:
    """One impairment of one link in one run, in the unit of its columns. None: there is no such number."""

    theoretical: Number | None = None
    achieved: Number | None = None
    interval: Interval = UNKNOWN  # around what was achieved
    verdict: str = ""  # empty: nothing was asked, or theory has no one number for it


UNASKED = Certificate()


def certify_loss(facts: LinkFacts) -> Certificate:
    """Of the packets the model decided about: all that entered, whatever became of them."""
    models = [LOSS_MODELS.build(config.loss) for config, _ in facts.periods if config.loss is not None]
    trials, happened = facts.stats.packets_entered, facts.stats.packets_doomed
    if not models:
        return UNASKED
    if trials == 0:
        return Certificate(verdict=TOO_FEW)
    ratio = max(model.variance_ratio(trials) for model in models)
    return _share(facts.expected_loss, happened, trials, ratio)


def certify_duplicate(facts: LinkFacts) -> Certificate:
    periods = [(config.duplicate, stats.duplicate_draws) for config, stats in facts.periods if config.duplicate]
    return _drawn([_Chance(duplicate, tried) for duplicate, tried in periods], facts.stats.duplicates_drawn)


def certify_corrupt(facts: LinkFacts) -> Certificate:
    periods = [(config.corrupt, stats.corrupt_draws) for config, stats in facts.periods]
    drawn = [(corrupt, tried) for corrupt, tried in periods if corrupt is not None and corrupt.flips is None]
    chances = [_Chance(corrupt.probability, tried, corrupt.max_burst) for corrupt, tried in drawn]
    return _drawn(chances, facts.stats.corruptions_drawn)


def certify_reorder(facts: LinkFacts) -> Certificate:
    """Of the packets that might have been displaced, which those in a gap may not; copies are not counted."""
    periods = [(config.reorder, stats.reorder_draws) for config, stats in facts.periods]
    drawn = [(reorder, tried) for reorder, tried in periods if reorder is not None and reorder.packets is None]
    return _drawn([_Chance(reorder.probability, tried) for reorder, tried in drawn], facts.stats.reorders_drawn)


@dataclass(frozen=True, slots=True)
class _Chance:
    """How likely something was, and how often it was tried."""

    probability: int
    tried: int
    burst_max: int | None = None

    @property
    def share(self) -> Fraction:
        if self.burst_max is not None:
            return capped_share(self.probability, self.burst_max)
        return Fraction(self.probability, PROBABILITY_ONE)

    def variance_ratio(self, trials: int) -> float:
        if self.burst_max is not None:
            return capped_variance_ratio(self.probability, self.burst_max, trials)
        return float(0 < self.probability < PROBABILITY_ONE)


def _drawn(chances: list[_Chance], happened: int) -> Certificate:
    """Chances that differ from one period to the next vary less together than if all were alike."""
    if not chances:
        return UNASKED
    trials = sum(chance.tried for chance in chances)
    if trials == 0:
        return Certificate(verdict=TOO_FEW)
    theory = sum((chance.share * chance.tried for chance in chances), Fraction(0)) / trials
    return _share(theory, happened, trials, max(chance.variance_ratio(trials) for chance in chances))


def _share(theory: Fraction, happened: int, trials: int, variance_ratio: float) -> Certificate:
    achieved = Fraction(happened, trials)
    rounded = round(float(theory), DIGITS), round(float(achieved), DIGITS)
    if variance_ratio == 0:
        return Certificate(*rounded, Interval(rounded[1], rounded[1]), AGREES if theory == achieved else DISAGREES)
    interval = proportion_interval(happened, trials, LEVEL, variance_ratio)
    return Certificate(*rounded, interval, _verdict(theory, interval))


def _verdict(theory: Fraction, interval: Interval) -> str:
    low, high = interval.low, interval.high
    assert low is not None
    assert high is not None
    if not low <= round(theory, DIGITS) <= high:
        return DISAGREES
    return AGREES if high - low <= theory else TOO_FEW


def certify_rate(facts: LinkFacts) -> Certificate:
    """Bits per second while the transmitter was busy; each busy period loses less than a nanosecond to rounding."""
    used = [(config.rate, stats) for config, stats in facts.periods if stats.serialisation_time]
    if all(config.rate is None for config, _ in facts.periods):
        return UNASKED
    if not used:
        return Certificate(verdict=TOO_FEW)
    exact = Fraction(0)
    for rate, stats in used:
        if rate is None or rate.value is None:
            return UNASKED  # a trace has no one rate; what it does with a packet is arithmetic (experiments/certify)
        exact += Fraction(stats.octets_serialised * 8 * SECOND, rate.value)
    bits, busy = facts.stats.octets_serialised * 8 * SECOND, facts.stats.serialisation_time
    slack = facts.stats.busy_periods + 1  # the first, which began with the run, is not counted
    interval = Interval(bits // (busy + slack), -(-bits // busy))
    verdict = AGREES if busy <= exact < busy + slack else DISAGREES
    return Certificate(round(bits / exact), round(Fraction(bits, busy)), interval, verdict)


def certify_delay(facts: LinkFacts) -> Certificate:
    """The mean delay drawn, in ms: without what displacement, match rules and `keep_order` added to it."""
    periods = [(config.delay, stats) for config, stats in facts.periods]
    if not any(delay.time or delay.jitter for delay, _ in periods):
        return UNASKED
    count = facts.stats.packets_delayed
    if count == 0:
        return Certificate(verdict=TOO_FEW)
    total = facts.stats.delay_time - facts.stats.detour_time
    theory, variance, third = 0.0, 0.0, 0.0  # of the sum
    for delay, stats in periods:
        moments = delay_moments(delay)
        if moments is None:
            return UNASKED
        theory += stats.packets_delayed * moments[0]
        variance += stats.packets_delayed * moments[1]
        third += stats.packets_delayed * moments[2]
    return _mean_delay(count, total, theory, variance, third)


def _mean_delay(count: int, total: int, theory: float, variance: float, third: float) -> Certificate:
    def mean(of: float) -> float:
        return round(of / count / MILLISECOND, DIGITS)

    if variance == 0:
        verdict = AGREES if total == theory else DISAGREES
        return Certificate(mean(theory), mean(total), Interval(mean(total), mean(total)), verdict)
    deviation = sqrt(variance)
    skewness = third / deviation**3
    shift = skewness * (_Z**2 - 1) / 6
    low, high = total - (_Z + shift) * deviation, total + (_Z - shift) * deviation
    if not low <= theory <= high:
        verdict = DISAGREES
    else:
        verdict = AGREES if count >= DELAYS_MIN and abs(skewness) <= SKEWNESS_MAX else TOO_FEW
    return Certificate(mean(theory), mean(total), Interval(mean(low), mean(high)), verdict)


def delay_moments(delay: DelayConfig) -> tuple[float, float, float] | None:
    """Mean, variance and third central moment of a packet's delay, which is never negative; None without a theory."""
    if not delay.jitter:
        return float(delay.time), 0.0, 0.0
    pieces = DELAY_DISTRIBUTIONS.build(delay.distribution).pieces(delay.jitter)
    if pieces is None:
        return None
    centre = float(delay.time)
    first, second, third = (
        sum(share * _moment(power, low, high, centre) for low, high, share in pieces) for power in (1, 2, 3)
    )
    return centre + first, second - first**2, third - 3 * first * second + 2 * first**3


def _moment(power: int, low: float, high: float, centre: float) -> float:
    """The mean of offset**power over a piece of the distribution, where no offset takes the delay below zero."""
    if high <= -centre:
        return (-centre) ** power
    if low == high:
        return low**power
    bottom = max(low, -centre)
    integral = (high ** (power + 1) - bottom ** (power + 1)) / (power + 1)
    return ((bottom - low) * (-centre) ** power + integral) / (high - low)


def asked_loss(config: LinkConfig) -> str:
    """The loss model as a scenario has it, on one line; empty without one."""
    if config.loss is None:
        return ""
    described = LOSS_MODELS.describe(config.loss)
    name = described.pop(LOSS_MODELS.selector)
    listed = {key: f"{len(value)} values" if isinstance(value, list) else value for key, value in described.items()}
    return " ".join([str(name), *(f"{key}={value}" for key, value in listed.items() if value is not None)])
