"""The share the run's own flows have of what all flows got, the rivals' included; over the time all are running."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import ratio
from rudp_smtp.experiment.shares import measure_shares


def own_share_ratio(facts: RunFacts) -> float | None:
    shares = measure_shares(facts)
    if shares is None or not shares.rivals:
        return None
    return ratio(sum(shares.own), sum(shares.everyone))
