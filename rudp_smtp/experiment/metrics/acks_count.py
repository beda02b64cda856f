"""Packets that carried nothing but an acknowledgement."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import told


def acks_count(facts: RunFacts) -> int | None:
    return told(facts, "acks_sent")
