"""LossJudge: whether what was lost is the path's own, or an answer to what we send.

The package's docstring says how BBR tells; draft-ietf-ccwg-bbr section 5.5.10 is what it departs from.
"""

from dataclasses import dataclass
from enum import Enum, auto

from rudp_smtp.recovery.congestion.bbr.path import PathModel
from rudp_smtp.recovery.congestion.bbr.phases import ACCELERATING, PROBE_BW, SETTLED, Phase
from rudp_smtp.recovery.congestion.bbr.rounds import Round, Tally
from rudp_smtp.recovery.delivery_rate import DeliveryRate, Departure

STARTUP_LOSSES_MIN = 6  # BBRStartupFullLossCnt, section 5.3.1.3
STANDING_RTTS = 8  # ours: a queue that is seen this long while cruising is of our own making
CHANCE_DENOMINATOR = 4  # ours: a quarter of a round is not lost by chance, queue or not
SIGMAS, SIGMAS_QUIET = 5, 8  # ours, in halves: how far from the baseline is beyond chance, with a queue and without


class Finding(Enum):
    NOTHING = auto()
    EXCESS = auto()  # more was lost, or marked, than the path does of itself
    STANDING_QUEUE = auto()  # in spite of cruising


@dataclass(slots=True)
class Judgement:
    """What a round has shown. Left alone after it is built."""

    finding: Finding
    is_quiet: bool  # no queue showed, and no more was lost than may be chance
    rate: int = 0  # that the path was found to carry


class LossJudge:
    """Owns what earlier rounds, and the probe under way, add to the evidence; teaches the path its baseline.

    It only finds; the answer is left to the controller.
    """

    __slots__ = ("_path", "_probe", "_queued", "_settled_rounds", "_was_excessive")

    def __init__(self, path: PathModel) -> None:
        self._path = path
        self._settled_rounds = 0  # in a row not accelerating
        self._queued = Tally()  # of such rounds, in a row, that showed a queue
        self._was_excessive = False  # the last round, though it showed no queue
        self._probe: Tally | None = None  # the counts when feedback from UP began

    def on_round(self, phase: Phase, latest: Round, tally: Tally, is_limited: bool, size: int) -> Judgement:
        """Judge the round that ends in this phase; `is_limited` if the application did not fill it."""
        self._settled_rounds = self._settled_rounds + 1 if phase in SETTLED else 0
        if phase is Phase.STARTUP:
            return self._judge_startup(latest, tally, is_limited, size)
        if phase in ACCELERATING:
            return Judgement(Finding.NOTHING, latest.rtt <= self._path.quiet_rtt(size))
        return self._judge(phase, latest, tally, size)

    def start_probe(self) -> None:
        self._probe = None

    def on_probe_round(self, sampler: DeliveryRate) -> None:
        """A round of UP is over: from the first on, what is heard is of packets sent in it."""
        if self._probe is None:
            self._probe = Tally(sampler.delivered, sampler.lost)

    def is_probe_excessive(self, sampler: DeliveryRate, departure: Departure, latest: Round, size: int) -> bool:
        """Whether the flight of a packet just lost, sent while probing, or all of the probe has lost too much."""
        path, probe = self._path, self._probe
        is_excessive = path.is_exceeded(sampler.lost - departure.lost, departure.bytes_in_flight, SIGMAS, size)
        if probe is not None and not is_excessive:
            lost = sampler.lost - probe.lost
            total = lost + sampler.delivered - probe.delivered
            is_excessive = total >= departure.bytes_in_flight and path.is_exceeded(lost, total, SIGMAS, size)
        if is_excessive and latest.rtt <= path.quiet_rtt(size):  # no queue to tell us from chance
            path.baseline.distrust()
        return is_excessive

    def _judge_startup(self, latest: Round, tally: Tally, is_limited: bool, size: int) -> Judgement:
        """Section 5.3.1.3."""
        path = self._path
        quiet_rtt = path.quiet_rtt(size)
        is_short = latest.rtt <= quiet_rtt
        is_excessive = path.is_exceeded(tally.lost, tally.total, SIGMAS_QUIET if is_short else SIGMAS, size)
        is_quiet = is_short and tally.lost * CHANCE_DENOMINATOR < tally.total
        is_first = is_quiet and not self._was_excessive
        self._was_excessive = is_excessive
        if is_excessive and latest.losses >= STARTUP_LOSSES_MIN and not is_limited and not is_first:
            if is_short:
                path.baseline.distrust()
            return Judgement(Finding.EXCESS, is_quiet)
        if is_quiet and latest.loss_rtt <= quiet_rtt:
            path.learn(tally, size)
        return Judgement(Finding.NOTHING, is_quiet)

    def _judge(self, phase: Phase, latest: Round, tally: Tally, size: int) -> Judgement:
        """Answer what was lost in a round in which we did not accelerate, or take it for the path's own.

        Without a queue the first excessive round is taken for chance; the second in a row for a path that got worse.
        """
        path = self._path
        quiet_rtt = path.quiet_rtt(size)
        is_quiet = latest.rtt <= quiet_rtt
        is_excessive = path.is_exceeded(tally.lost, tally.total, SIGMAS_QUIET if is_quiet else SIGMAS, size)
        if is_quiet or self._settled_rounds < 2:
            self._queued.clear()
        queued = self._queued
        queued.add(tally)
        is_first = is_quiet and is_excessive and not self._was_excessive
        self._was_excessive = is_first
        if is_first:
            is_excessive = False
        elif not is_quiet and path.is_exceeded(queued.lost, queued.total, SIGMAS, size):
            is_excessive = True
        if is_excessive or latest.is_marked:
            is_averaged = path.baseline.certain and phase in PROBE_BW  # the largest sample is one of luck
            rate = path.average(queued) if is_averaged else latest.rate
            queued.clear()
            return Judgement(Finding.EXCESS, is_quiet, rate)
        if is_quiet:
            if self._settled_rounds > 1 and latest.loss_rtt <= quiet_rtt:
                path.learn(tally, size)
            return Judgement(Finding.NOTHING, is_quiet)
        if tally.lost * 2 < path.baseline.expected(tally.total):
            path.learn(tally, size)  # a queue loses more, never less
        if phase is Phase.CRUISE and path.baseline.certain and queued.time > STANDING_RTTS * (path.min_rtt.value or 0):
            rate = path.average(queued)
            queued.clear()
            return Judgement(Finding.STANDING_QUEUE, is_quiet, rate)
        return Judgement(Finding.NOTHING, is_quiet)
