"""Stream octets both hosts sent again."""

from rudp_smtp.experiment.build import RunFacts


def retransmitted_bytes(facts: RunFacts) -> int:
    return facts.report.client.stream_bytes_retransmitted + facts.report.server.stream_bytes_retransmitted
