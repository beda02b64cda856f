"""From the start of the work to the last wanted thing; None where the run was stopped before."""

from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import milliseconds


def completion_ms(facts: RunFacts) -> float | None:
    report = facts.report
    return None if report.finished_at is None else milliseconds(report.finished_at - report.started_at)
