"""Stream octets sent beyond what the losses make necessary, as a share of the necessary: both hosts, headers left out.

Of n octets sent once or again a link that loses the share p of its octets (loss, queue, MTU) delivers n (1 - p), and
needed are those that were sent first: so the excess is n (1 - p) / first - 1, the share that arrived twice. A copy, a
probe and a spurious retransmission all count; chance makes it a little wrong, even negative, where little was sent.
"""

from rudp_smtp.experiment.build import LinkFacts, RunFacts
from rudp_smtp.experiment.statistics import DIGITS
from rudp_smtp.transport import TransportStats


def excess_wire_ratio(facts: RunFacts) -> float | None:
    report = facts.report
    needed = report.client.stream_bytes_sent + report.server.stream_bytes_sent
    if not needed:
        return None
    arrived = _arrived(report.client, facts.forward) + _arrived(report.server, facts.reverse)
    return round(arrived / needed - 1, DIGITS)


def _arrived(sender: TransportStats, link: LinkFacts) -> float:
    stats = link.stats
    gone = stats.octets_lost + stats.octets_queue_dropped + stats.octets_too_big
    sent = sender.stream_bytes_sent + sender.stream_bytes_retransmitted
    entered = stats.octets_entered + stats.octets_duplicated  # a copy has a fate of its own
    return sent * (entered - gone) / entered if entered else 0.0
