"""Stream octets sent again, as a share of those sent first; both hosts."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import ratio


def retransmit_ratio(facts: RunFacts) -> float | None:
    client, server = facts.report.client, facts.report.server
    again = client.stream_bytes_retransmitted + server.stream_bytes_retransmitted
    return ratio(again, client.stream_bytes_sent + server.stream_bytes_sent)
