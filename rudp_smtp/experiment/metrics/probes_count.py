"""Packets sent because a timer ran out, to learn what became of the others."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import told


def probes_count(facts: RunFacts) -> int | None:
    return told(facts, "probes_sent")
