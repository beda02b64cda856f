"""Packets taken for lost that were acknowledged after all: what was sent again for them was wasted."""

from rudp_smtp.experiment.build import RunFacts


def spurious_count(facts: RunFacts) -> int:
    return facts.report.client.packets_spurious + facts.report.server.packets_spurious
