"""Within this time from hand-over, 95 % of the messages were answered for good."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import latency_ms
from rudp_smtp.experiment.statistics import P95


def latency_p95_ms(facts: RunFacts) -> float | None:
    return latency_ms(facts, P95)
