"""Within this time from hand-over, 99 % of the messages were answered for good."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import latency_ms
from rudp_smtp.experiment.statistics import P99


def latency_p99_ms(facts: RunFacts) -> float | None:
    return latency_ms(facts, P99)
