"""Every study under experiments/ loads; the reference path's tables name every controller and timer there is."""

import subprocess
import sys
from pathlib import Path

import pytest

from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.recovery.congestion import CONTROLLERS
from rudp_smtp.recovery.timer import TIMERS

ROOT = Path(__file__).parent.parent
STUDIES = sorted((ROOT / "experiments").glob("*/*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_study_loads_and_has_runs(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.description
    assert len(plan(scenario)) == scenario.replications * len(scenario.cells) > 0


def test_one_command_prints_both_tables_of_the_reference_path(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "experiments" / "path" / "tables.py"), "--output", str(tmp_path)]
    finished = subprocess.run(
        [*command, "--replications", "1", "--bulk-size", "300kB"], capture_output=True, text=True, check=True
    )
    _, _, tables = finished.stdout.partition("Bulk goodput, Mbit/s")
    bulk, _, dialogue = tables.partition("A dialogue of 20 turns, seconds")
    for name in CONTROLLERS.names():
        assert f"│ {name} " in bulk
    for name in TIMERS.names():
        assert f"│ {name} " in dialogue
    assert "not finished" not in tables
