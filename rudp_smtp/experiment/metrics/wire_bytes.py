"""UDP payload octets both hosts sent."""

from rudp_smtp.experiment.build import RunFacts


def wire_bytes(facts: RunFacts) -> int:
    return facts.report.client.bytes_sent + facts.report.server.bytes_sent
