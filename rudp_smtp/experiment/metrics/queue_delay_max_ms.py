"""How long a packet waited in the forward queue before it was sent: the longest of the run."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import milliseconds


def queue_delay_max_ms(facts: RunFacts) -> float | None:
    stats = facts.forward.stats
    return milliseconds(stats.queue_time_max) if stats.packets_serialised else None
