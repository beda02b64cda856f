"""Packets a sender took for lost, rightly or not."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import told


def declared_lost_count(facts: RunFacts) -> int | None:
    return told(facts, "packets_lost")
