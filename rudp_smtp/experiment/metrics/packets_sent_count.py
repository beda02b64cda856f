"""Packets both hosts sent, acknowledgements and probes included."""

from rudp_smtp.experiment.build import RunFacts


def packets_sent_count(facts: RunFacts) -> int:
    return facts.report.client.packets_sent + facts.report.server.packets_sent
