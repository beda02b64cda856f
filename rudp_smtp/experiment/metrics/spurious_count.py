"""Packets taken for lost that were acknowledged after all: what was sent again for them was wasted."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import told


def spurious_count(facts: RunFacts) -> int | None:
    return told(facts, "packets_spurious")
