"""The share of the time in which the forward link was busy, whoever used it; None without a rate.

From its first packet's entrance to its last one's departure.
"""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import ratio


def link_utilisation_ratio(facts: RunFacts) -> float | None:
    stats = facts.forward.stats
    if stats.entered_first is None or not stats.packets_serialised:
        return None
    return ratio(stats.serialisation_time, stats.serialised_last - stats.entered_first)
