"""Virtual time at which the run ended, its last closing packet included."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import milliseconds


def virtual_ms(facts: RunFacts) -> float:
    return milliseconds(facts.end)
