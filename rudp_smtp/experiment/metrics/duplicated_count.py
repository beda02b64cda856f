"""Copies beyond the first that came into a mailbox: the window of RFC 1047, when a final 250 is lost."""

from rudp_smtp.experiment.build import RunFacts


def duplicated_count(facts: RunFacts) -> int:
    return sum(max(0, delivery.copies - 1) for delivery in facts.report.deliveries)
