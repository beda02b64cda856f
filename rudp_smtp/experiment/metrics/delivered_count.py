"""Messages the client was told are delivered."""

from rudp_smtp.experiment.build import RunFacts


def delivered_count(facts: RunFacts) -> int:
    return sum(delivery.status == "delivered" for delivery in facts.report.deliveries)
