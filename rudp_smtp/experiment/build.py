"""Run -> nodes, links, driver: the one place where layers are put together."""

from dataclasses import dataclass
from fractions import Fraction

from rudp_smtp.experiment.plan import Run
from rudp_smtp.link.link import LinkStats
from rudp_smtp.trace import Sink
from rudp_smtp.workload import WorkloadReport


@dataclass(slots=True)
class LinkFacts:
    """One direction after a run: what was asked and what happened."""

    expected_loss: Fraction  # the loss model's own, for this many packets
    packets_judged: int  # how many the loss model decided about: what the achieved loss is a share of
    stats: LinkStats


@dataclass(slots=True)
class RunFacts:
    """All that a finished (or censored) run leaves behind; metrics are functions of this."""

    run: Run
    stop: str  # why the simulator stopped: done, time limit, event limit, or idle
    end: int  # virtual ns
    events: int
    packets: int
    report: WorkloadReport
    forward: LinkFacts
    reverse: LinkFacts


def execute(run: Run, sink: Sink | None = None) -> RunFacts:
    """Simulate one run. Raises nothing on purpose: a run that cannot finish ends by its limits, with their name."""
    raise NotImplementedError
