"""The share of the time in which the forward link was busy, whoever used it; None without a rate.

From its first packet's entrance to its last one's departure.
"""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import ratio


def link_utilisation_ratio(facts: RunFacts) -> float | None:
    stats, busy_until = facts.forward.stats, facts.forward.busy_until
    if stats.entered_first is None or busy_until is None:
        return None
    return ratio(stats.serialisation_time, busy_until - stats.entered_first)
