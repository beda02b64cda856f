"""Packets sent because a timer ran out, to learn what became of the others."""

from rudp_smtp.experiment.build import RunFacts


def probes_count(facts: RunFacts) -> int:
    return facts.report.client.probes_sent + facts.report.server.probes_sent
