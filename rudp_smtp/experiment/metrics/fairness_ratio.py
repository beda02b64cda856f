"""Jain's index over all flows of the run, rivals included: 1 if all get the same, 1/n if one of n gets everything.

R. Jain, D. Chiu and W. Hawe, "A Quantitative Measure of Fairness", DEC-TR-301, 1984. Over the time all flows are
running, less a warm-up.
"""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import ratio
from rudp_smtp.experiment.shares import measure_shares


def fairness_ratio(facts: RunFacts) -> float | None:
    shares = measure_shares(facts)
    if shares is None or len(shares.everyone) < 2:
        return None
    flows = shares.everyone
    return ratio(sum(flows) ** 2, len(flows) * sum(octets**2 for octets in flows))
