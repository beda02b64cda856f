"""What all rivals together got, while all flows of the run were running, less a warm-up."""

from fractions import Fraction

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.shares import measure_shares
from rudp_smtp.units import SECOND


def rival_goodput_bps(facts: RunFacts) -> int | None:
    shares = measure_shares(facts)
    if shares is None or not shares.rivals:
        return None
    return round(Fraction(sum(shares.rivals) * 8 * SECOND, shares.duration))
