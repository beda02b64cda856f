"""Messages the workload wanted to bring over."""

from rudp_smtp.experiment.build import RunFacts


def messages_count(facts: RunFacts) -> int:
    return len(facts.report.deliveries)
