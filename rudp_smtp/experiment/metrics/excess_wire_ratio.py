"""Stream octets sent beyond what the path's own losses make necessary, as a share of the necessary; both hosts.

A link whose loss model takes the share p of what it judges needs 1 / (1 - p) octets for each that is to arrive: so of
n octets sent, the first transmissions among them `first`, the excess is n (1 - p) / first - 1. What a queue had no
room for is the sender's own doing, and counts as excess like copies, probes and spurious retransmissions. Chance makes
it a little wrong, even negative, where little was sent.
"""

from rudp_smtp.experiment.build import LinkFacts, RunFacts
from rudp_smtp.experiment.statistics import DIGITS
from rudp_smtp.transport import TransportStats


def excess_wire_ratio(facts: RunFacts) -> float | None:
    report = facts.report
    needed = report.client.stream_bytes_sent + report.server.stream_bytes_sent
    if not needed:
        return None
    enough = _enough(report.client, facts.forward) + _enough(report.server, facts.reverse)
    return round(enough / needed - 1, DIGITS)


def _enough(sender: TransportStats, link: LinkFacts) -> float:
    """How many octets would have sufficed for all that was sent, had the link lost nothing."""
    sent = sender.stream_bytes_sent + sender.stream_bytes_retransmitted
    judged = link.packets_judged
    return sent * (judged - link.stats.packets_lost) / judged if judged else 0.0
