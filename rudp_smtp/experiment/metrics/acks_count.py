"""Packets that carried nothing but an acknowledgement."""

from rudp_smtp.experiment.build import RunFacts


def acks_count(facts: RunFacts) -> int:
    return facts.report.client.acks_sent + facts.report.server.acks_sent
