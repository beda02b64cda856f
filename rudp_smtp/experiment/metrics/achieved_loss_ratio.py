"""The share of packets the loss models of both directions did lose; a full queue's drops are not among them."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import ratio


def achieved_loss_ratio(facts: RunFacts) -> float | None:
    links = (facts.forward, facts.reverse)
    return ratio(sum(link.stats.packets_lost for link in links), sum(link.packets_judged for link in links))
