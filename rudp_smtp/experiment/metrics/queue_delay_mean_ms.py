"""How long a packet waited in the forward queue before it was sent: the mean over the whole run."""

from fractions import Fraction

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import milliseconds


def queue_delay_mean_ms(facts: RunFacts) -> float | None:
    stats = facts.forward.stats
    if not stats.packets_serialised:
        return None
    return milliseconds(round(Fraction(stats.queue_time, stats.packets_serialised)))
