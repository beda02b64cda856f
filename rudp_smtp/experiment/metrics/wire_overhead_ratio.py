"""Octets on the wire beyond those of the messages that arrived, as a share of the latter."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import ratio, told


def wire_overhead_ratio(facts: RunFacts) -> float | None:
    sent = told(facts, "bytes_sent")
    payload = sum(delivery.size for delivery in facts.report.deliveries if delivery.copies)
    return None if sent is None else ratio(sent - payload, payload)
