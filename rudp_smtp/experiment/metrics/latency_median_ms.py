"""Within this time from hand-over, half of the messages were answered for good."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import latency_ms
from rudp_smtp.experiment.statistics import MEDIAN


def latency_median_ms(facts: RunFacts) -> float | None:
    return latency_ms(facts, MEDIAN)
