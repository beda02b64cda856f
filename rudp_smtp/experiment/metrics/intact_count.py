"""Delivered messages of which every copy equals, octet for octet, what had to be sent."""

from rudp_smtp.experiment.build import RunFacts


def intact_count(facts: RunFacts) -> int:
    return sum(delivery.status == "delivered" and delivery.is_intact for delivery in facts.report.deliveries)
