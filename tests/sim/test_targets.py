"""TRANSPORT.md section 3's bulk targets, by the default profile, on seeds that nothing was tuned on."""

from pathlib import Path
from statistics import median

import pytest

from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.metrics.goodput_bps import goodput_bps
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.scenario import load_scenario

STUDY = Path(__file__).parents[2] / "experiments" / "path"
FRESH = [("seed", "101"), ("replications", "5"), ("vary", "null"), ("compare", "null")]


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("scenario", "loss", "target"),
    [
        ("bulk", "1%", 18_500_000),
        ("bulk", "5%", 17_400_000),
        ("bulk", "10%", 16_300_000),
        ("bulk_reordered", None, 18_700_000),
    ],
)
def test_the_default_meets_the_target_on_fresh_seeds(scenario: str, loss: str | None, target: int) -> None:
    """At 0 % the target is above what any sender that doubles from 10 packets gets out of 20 MB (18.89 Mbit/s)."""
    settings = [*FRESH, ("network.both.loss.p", loss)] if loss else FRESH
    runs = plan(load_scenario(STUDY / f"{scenario}.yaml", settings))
    assert median(goodput_bps(execute(run)) or 0 for run in runs) >= target
