"""Every study under experiments/ loads; its tables name every plug-in they are to compare."""

import csv
import runpy
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.recovery.congestion import CONTROLLERS
from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS
from rudp_smtp.recovery.redundancy import REDUNDANCIES
from rudp_smtp.recovery.timer import TIMERS
from tests.live import live

ROOT = Path(__file__).parent.parent
SERIAL = ["--set", "executor=serial"]  # so few runs take less time than to start processes for them
STUDIES = sorted((ROOT / "experiments").glob("*/*.yaml"))
SCRIPTS = sorted(
    path for path in (ROOT / "experiments").glob("*/*.py") if "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_study_loads_and_has_runs(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.description
    assert len(plan(scenario)) == scenario.replications * len(scenario.cells) > 0


def test_one_command_prints_both_tables_of_the_reference_path(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "experiments" / "path" / "tables.py"), "--output", str(tmp_path)]
    finished = subprocess.run(
        [*command, *SERIAL, "--replications", "1", "--bulk-size", "300kB"], capture_output=True, text=True, check=True
    )
    _, _, tables = finished.stdout.partition("Bulk goodput, Mbit/s")
    bulk, _, dialogue = tables.partition("A dialogue of 20 turns, seconds")
    for name in (*CONTROLLERS.names(), *LOSS_DETECTORS.names(), "(stop_and_wait)", "(go_back_n)", "(selective_repeat)"):
        assert f"│ {name} " in bulk
    for name in (*TIMERS.names(), *REDUNDANCIES.names()):
        assert f"│ {name} " in dialogue


ADAPTIVE = [name for name in CONTROLLERS.names() if name not in ("fixed", "unlimited")]  # those that claim fairness


def test_one_command_shows_every_pair_of_controllers_beside_each_other(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "experiments" / "fairness" / "pairs.py"), "--output", str(tmp_path)]
    arguments = ["--replications", "1", "--set", "workload.duration=3s", "--set", "network.both.rate=1mbit"]
    finished = subprocess.run([*command, *SERIAL, *arguments], capture_output=True, text=True, check=True)
    _, _, table = finished.stdout.partition("Two flows on")
    assert table.startswith(" 1 Mbit/s, RTT 40 ms;"), "the path that was run, not the file's"
    shown = [tuple(cell.strip() for cell in line.split("│")[2:4]) for line in table.splitlines() if line[:1] == "│"]
    assert sorted(shown) == sorted(pair for pair in product(ADAPTIVE, ADAPTIVE) for _queue in range(3))
    assert (tmp_path / "fairness-pairs" / "shares.png").stat().st_size > 10_000


@pytest.mark.sweep
def test_one_command_names_the_worst_cells_of_the_robustness_grid(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "experiments" / "robustness" / "grid.py"),
        "--quick",
        "--output",
        str(tmp_path),
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "The 20 worst cells" in finished.stdout
    with (tmp_path / "robustness-quick" / "cells.csv").open(newline="", encoding="utf-8") as file:
        shares = [float(row["utilisation_ratio"]) for row in csv.DictReader(file)]
    assert len(shares) == 60
    assert all(0 < share < 1.05 for share in shares), "the ideal is no bound"


def test_one_command_times_a_mail_against_its_lower_bound(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "experiments" / "mail" / "figure.py"), "--output", str(tmp_path)]
    finished = subprocess.run([*command, *SERIAL, "--replications", "2"], capture_output=True, text=True, check=True)
    _, _, table = finished.stdout.partition("Connect to the final 250")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line[:1] == "│"]
    assert [(row[0], row[1]) for row in rows] == list(
        product(("yes", "no"), ("plain", "redundancy", "0-RTT", "redundancy and 0-RTT"))
    )
    for _, _, bound, *cells in rows:
        least = int(bound.split()[0])
        medians = [int(cell.split(" / ")[0]) for cell in cells]
        assert medians[0] == least, "without loss the bound is met"
        assert min(medians) == least
    assert (tmp_path / "mail" / "delivery_time.png").stat().st_size > 10_000


def test_one_command_shows_ours_beside_other_peoples_transports(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "experiments" / "peers" / "compare.py"), "--output", str(tmp_path)]
    arguments = ["--replications", "1", "--bulk-size", "30kB"]
    finished = subprocess.run([*command, *SERIAL, *arguments], capture_output=True, text=True, check=True)
    _, _, table = finished.stdout.partition("Peers on 20 Mbit/s")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line[:1] == "│"]
    transports = ["rudp", "rudp cubic", "quic reno", "quic cubic", "kcp default", "kcp turbo", "kcp turbo eager"]
    assert [row[1] for row in rows] == transports * 3
    for _, _, *cells in rows:
        assert len(cells) == 5
        values = [float(value) for cell in cells for value in cell.split(" / ")]
        assert all(0 < value < 600 for value in values), "everything was delivered"
    assert (tmp_path / "peers-figure" / "compare.png").stat().st_size > 10_000


@live
@pytest.mark.sweep
def test_the_same_command_runs_live_beside_the_kernels_tcp(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "experiments" / "peers" / "compare.py"), "--output", str(tmp_path), "--live"]
    arguments = ["--replications", "1", "--bulk-size", "30kB"]
    finished = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    _, _, table = finished.stdout.partition("Peers on 20 Mbit/s, RTT 40 ms, in real time")
    table, _, rest = table.partition("Live less virtual")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line[:1] == "│"]
    transports = ["tcp cubic", "tcp bbr", "rudp", "quic cubic", "kcp turbo", "kcp turbo eager"]
    assert [row[1] for row in rows] == transports * 3
    assert all(cell == "-" or float(cell.partition(" / ")[0]) > 0 for row in rows for cell in row[2:])
    assert "The kernel's TCP here / elsewhere" in rest
    assert (tmp_path / "peers-figure-live" / "compare.png").stat().st_size > 10_000


def test_one_command_says_whether_live_runs_agree_with_simulated_ones(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "experiments" / "fidelity" / "fidelity.py"), "--output", str(tmp_path)]
    arguments = ["--drivers", "udp", "--replications", "1"]
    finished = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    _, _, table = finished.stdout.partition("Live beside simulated")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line[:1] == "│"]
    tasks = ["Bulk, completion", "Dialogue, completion", "Dialogue, one turn"]
    conditions = ["no losses", "2 % late", "5% lost", "5% lost, 2 % late"]
    assert [(row[0], row[1]) for row in rows] == list(product(tasks, conditions))
    assert {row[2] for row in rows} == {"udp"}
    agrees = [row[-1] == "agrees" for row in rows]  # a busy machine may make one run differ, or invalid
    assert finished.returncode == (0 if all(agrees) else 1)
    assert sum(agrees) > len(rows) // 2 or any("invalid" in row[-2] for row in rows)
    assert (tmp_path / "fidelity-figure" / "fidelity.png").stat().st_size > 10_000


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "network.both.rat=1mbit"], "rat"),
        (["--set", "replications"], "expected KEY=VALUE"),
        (["--replications", "0"], "replications: 0 is out of range"),
        (["--output", "/dev/null/results"], "expected a folder that can be written"),
    ],
    ids=["unknown key", "no value", "no runs", "no folder"],
)
def test_a_study_names_what_is_wrong(
    script: Path,
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "report_arguments" in script.read_text(encoding="utf-8") and arguments[0] != "--output":
        words = f"unrecognized arguments: {arguments[0]}"  # a study of no scenario has no option that does nothing
    monkeypatch.setattr(sys, "argv", [str(script), "--output", str(tmp_path), *arguments])
    monkeypatch.syspath_prepend(str(script.parent))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_figure_of_theory_leaves_the_counts_it_shows(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "experiments" / "theory" / "figures.py"), "--output", str(tmp_path)]
    subprocess.run([*command, "--quick", "--only", "transmissions"], capture_output=True, check=True)
    with (tmp_path / "theory-transmissions-quick" / "counts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for p in (10, 30, 50):
        counts = [row for row in rows if row["network.forward.loss.p"] == f"{p}%"]
        frames = sum(int(row["times_count"]) for row in counts)
        transmissions = sum(int(row["times_count"]) * int(row["length_count"]) for row in counts)
        assert frames == 2 * 2000, "each frame of both runs once"
        assert transmissions / frames == pytest.approx(1 / (1 - p / 100), rel=0.05)
    assert (tmp_path / "theory-figures-quick" / "transmissions.png").stat().st_size > 10_000
