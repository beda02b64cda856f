"""Octets on the wire beyond those of the messages that arrived, as a share of the latter."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import ratio


def wire_overhead_ratio(facts: RunFacts) -> float | None:
    report = facts.report
    payload = sum(delivery.size for delivery in report.deliveries if delivery.copies)
    return ratio(report.client.bytes_sent + report.server.bytes_sent - payload, payload)
