"""UDP payload octets both hosts sent."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import told


def wire_bytes(facts: RunFacts) -> int | None:
    return told(facts, "bytes_sent")
