"""Octets of intact messages over the time the work took; over the whole run where it did not come to its end."""

from fractions import Fraction

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.units import SECOND


def goodput_bps(facts: RunFacts) -> int | None:
    report = facts.report
    octets = sum(delivery.size for delivery in report.deliveries if delivery.copies and delivery.is_intact)
    finished_at = facts.end if report.finished_at is None else report.finished_at
    duration = finished_at - report.started_at
    return round(Fraction(octets * 8 * SECOND, duration)) if duration > 0 else None
