"""Within this time from hand-over, half of the messages that arrived were complete in the mailbox."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import milliseconds
from rudp_smtp.experiment.statistics import MEDIAN, nearest_rank


def mailbox_latency_median_ms(facts: RunFacts) -> float | None:
    latencies = [
        delivery.delivered_at - delivery.submitted_at
        for delivery in facts.report.deliveries
        if delivery.delivered_at is not None and delivery.submitted_at is not None
    ]
    latency = nearest_rank(latencies, MEDIAN)
    return None if latency is None else milliseconds(int(latency))
