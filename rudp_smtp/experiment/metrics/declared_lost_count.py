"""Packets a sender took for lost, rightly or not."""

from rudp_smtp.experiment.build import RunFacts


def declared_lost_count(facts: RunFacts) -> int:
    return facts.report.client.packets_lost + facts.report.server.packets_lost
