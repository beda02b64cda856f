"""Packets that found a queue full."""

from rudp_smtp.experiment.build import RunFacts


def queue_dropped_count(facts: RunFacts) -> int:
    return facts.forward.stats.packets_queue_dropped + facts.reverse.stats.packets_queue_dropped
