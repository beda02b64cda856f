"""What each of the flows of a run got while all of them were running, the rivals' included."""

from dataclasses import dataclass
from fractions import Fraction

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.workload import FlowReport

WARM_UP = Fraction(
    1, 4
)  # of the time from the last flow's start to the first one's end: what the start cost is not told


@dataclass(frozen=True, slots=True)
class Shares:
    """Octets by flow within the common interval, whose length is in ns."""

    duration: int
    own: tuple[int, ...]
    rivals: tuple[int, ...]

    @property
    def everyone(self) -> tuple[int, ...]:
        return self.own + self.rivals


def measure_shares(facts: RunFacts) -> Shares | None:
    """None where there is no time at which every flow is running, and something to see."""
    own = facts.report.flows
    rivals = [flow for report in facts.rivals for flow in report.flows]
    flows = [*own, *rivals]
    starts = [flow.started_at for flow in flows if flow.started_at is not None]
    if not flows or len(starts) < len(flows):
        return None
    start = max(starts)
    stop = min(facts.end if flow.ended_at is None else flow.ended_at for flow in flows)
    start += int((stop - start) * WARM_UP)
    if stop <= start:
        return None

    def octets(flow: FlowReport) -> int:
        return flow.progress.between(start, stop)

    return Shares(stop - start, tuple(map(octets, own)), tuple(map(octets, rivals)))
