"""The share of packets the loss models of both directions lose in theory."""

from fractions import Fraction

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.statistics import DIGITS


def asked_loss_ratio(facts: RunFacts) -> float | None:
    links = (facts.forward, facts.reverse)
    judged = sum(link.packets_judged for link in links)
    expected = sum((link.expected_loss * link.packets_judged for link in links), Fraction(0))
    return round(float(expected / judged), DIGITS) if judged else None
