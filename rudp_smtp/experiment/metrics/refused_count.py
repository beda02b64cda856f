"""Messages refused for a reason, which messages.csv gives."""

from rudp_smtp.experiment.build import RunFacts


def refused_count(facts: RunFacts) -> int:
    return sum(delivery.status == "refused" for delivery in facts.report.deliveries)
