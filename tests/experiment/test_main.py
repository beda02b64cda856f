"""The command as a person uses it: what it writes, what it says, its exit status, and that it can be stopped."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from rudp_smtp.cli.__main__ import main as cli
from rudp_smtp.experiment.__main__ import main
from rudp_smtp.experiment.console import print_whole, summary_table
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.tables import Results
from tests.experiment import invented

SCENARIO = """schema: 1
name: tiny
seed: 3
replications: 2
network:
  both:
    delay: {time: 5ms}
    rate: 20mbit
    loss: {model: random, p: 5%}
transport: {name: rudp}
workload: {name: smtp, messages: 2, size: 3KiB}
vary:
  network.both.loss.p: [0%, 20%]
executor: serial
"""
FIGURES = ("latency_ecdf", "time_sequence")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in a folder of its own: nothing is ever written into the project's results."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SCENARIO)
    return tmp_path


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest, and has tests of its own."""
    monkeypatch.setattr("rudp_smtp.experiment.figures.draw_figures", lambda folder: [])


def tables(folder: Path) -> dict[str, bytes]:
    """All that must be the same bytes: everything but the manifest."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".json"}


def command(*arguments: str, **environment: str) -> list[str]:
    variables = [f"{name}={value}" for name, value in environment.items()]
    return ["env", *variables, sys.executable, "-m", "rudp_smtp.experiment", "tiny.yaml", *arguments]


def test_a_reader_of_the_output_that_leaves_is_no_error_to_speak_of(undrawn: None) -> None:
    assert main(["tiny.yaml"]) == 0  # what follows has only to print
    with subprocess.Popen(command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 141


def test_a_run_writes_everything_and_prints_a_table(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml"]) == 0
    output = capsys.readouterr().out
    assert "delivered" in output
    assert "4/4" in output
    written = {path.name for path in (here / "results" / "tiny").iterdir()}
    assert written == {
        "runs", "runs.csv", "messages.csv", "links.csv", "summary.csv", "manifest.json", "trace.csv",
        "latency_ecdf.svg", "latency_ecdf.png", "time_sequence.svg", "time_sequence.png",
    }  # fmt: skip
    assert all(name in output for name in written - {"runs"})
    assert len(list((here / "results" / "tiny" / "runs").iterdir())) == 4
    with (here / "results" / "tiny" / "messages.csv").open(newline="") as file:
        assert [(row["status"], row["is_intact"]) for row in csv.DictReader(file)] == [("delivered", "true")] * 8


@pytest.mark.usefixtures("undrawn")
def test_what_is_stored_is_kept_unless_fresh(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml"]) == 0
    first = tables(here / "results" / "tiny")
    capsys.readouterr()
    assert main(["tiny.yaml"]) == 0
    assert "4 of them stored before" in capsys.readouterr().out
    assert main(["tiny.yaml", "--fresh"]) == 0
    assert "0 of them stored before" in capsys.readouterr().out
    assert main(["tiny.yaml", "--replications", "3"]) == 0
    assert "4 of them stored before" in capsys.readouterr().out
    assert main(["tiny.yaml"]) == 0
    assert tables(here / "results" / "tiny") == first


@pytest.mark.usefixtures("undrawn")
def test_the_list_says_what_would_run_and_runs_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", "--list"]) == 0
    assert "4 of 4 runs to do" in capsys.readouterr().out
    assert not (here / "results").exists()
    assert main(["tiny.yaml", "--set", "vary=null"]) == 0
    capsys.readouterr()
    assert main(["tiny.yaml", "--list", "--set", "vary=null", "--replications", "5"]) == 0
    assert "3 of 5 runs to do" in capsys.readouterr().out


@pytest.mark.usefixtures("undrawn")
def test_options_change_the_scenario(here: Path) -> None:
    arguments = ["--seed", "4", "--set", "workload.messages=1", "--set", "vary=null", "--replications", "1"]
    assert cli(["experiment", "tiny.yaml", "--output", "elsewhere", *arguments]) == 0
    with (here / "elsewhere" / "runs.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["workload.messages"] == "1"
    assert row["delivered_count"] == "1"


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_cannot_deliver_ends_by_its_limit_with_status_1(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--set", "vary.network.both.loss.p=[0%, 100%]", "--set", "limits.time=20s"]
    assert main(["tiny.yaml", *settings]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("not everything was delivered:\n  network.both.loss.p=100%, seed")
    assert errors.count("2 of 2 messages undelivered") == 2
    with (here / "results" / "tiny" / "runs.csv").open(newline="") as file:
        stops = [(row["stop"], row["delivered_count"]) for row in csv.DictReader(file)]
    assert stops[:2] == [("done", "2")] * 2
    assert all(stop != "done" and delivered == "0" for stop, delivered in stops[2:])


@pytest.mark.usefixtures("undrawn")
def test_what_was_changed_or_refused_before_sending_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "corpus").mkdir()
    for name, octets in {"a": b"A: a\n", "b": b"B: b\r\n", "c": b"C: c\r\rd\r\n"}.items():
        (here / "corpus" / name).write_bytes(octets)
    settings = ["--set", "workload={name: smtp, corpus: corpus}", "--set", "vary=null", "--replications", "1"]
    assert main(["tiny.yaml", *settings]) == 1
    captured = capsys.readouterr()
    assert "2/3" in captured.out
    assert "1 of 3 messages refused (first: c: not sent: it contains a bare CR)" in captured.err
    with (here / "results" / "tiny" / "messages.csv").open(newline="") as file:
        rows = [(row["name"], row["status"], row["changed_before_sending"]) for row in csv.DictReader(file)]
    assert rows == [("a", "delivered", "bare LF line ends became CRLF"), ("b", "delivered", ""), ("c", "refused", "")]


def test_the_table_of_one_cell_fits_80_columns_and_a_wide_one_loses_no_number() -> None:
    for losses, is_narrow in ((("10%",), True), (("0%", "10%"), False)):
        scenario = invented.scenario(losses=losses)
        if is_narrow:
            scenario = replace(scenario, axes=(), cells=(replace(scenario.cells[0], parameters=()),))
        runs = plan(scenario)
        console = Console(width=80, file=StringIO(), record=True)
        print_whole(summary_table(Results(scenario, runs, [invented.perform(run) for run in runs])), console)
        lines = console.export_text().splitlines()
        assert (max(map(len, lines)) <= 80) == is_narrow
        assert not any("\u2026" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "vary.network.both.loss.p=[130%]"], "130%"),
        (["--set", "network.both.rate=20"], "has no unit"),
        (["--set", "nonsense"], "expected KEY=VALUE"),
        (["--set", "network.both.los.p=1%"], "did you mean"),
        (["--output", "tiny.yaml/results"], "cannot write to the output folder"),
        (["--seed", "x"], "seed"),
        (["--replications", "0"], "replications"),
    ],
)
def test_bad_input_is_said_in_one_line_with_status_2(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["tiny.yaml", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out
    assert not (here / "results").exists()


@pytest.mark.parametrize("arguments", [[], ["missing.yaml", "--workers", "0"], ["x.yaml", "--unknown"]])
def test_bad_arguments_have_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_missing_scenario_has_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["missing.yaml"]) == 2
    assert "missing.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("entrance", [main, cli])
def test_the_version_is_told(entrance: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        entrance(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("rudp_smtp ")


def test_help_waits_for_no_library() -> None:
    code = "import sys, rudp_smtp.cli.__main__, rudp_smtp.experiment.__main__; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "matplotlib", "pydantic", "yaml", "rich", "multiprocessing"} & set(output.split())


@pytest.mark.usefixtures("undrawn")
def test_workers_and_hash_seeds_change_no_byte(here: Path) -> None:
    """The two commands draw their figures too; the third, in this process, has only its tables compared."""
    both = [
        subprocess.Popen(
            command("--workers", workers, "--output", workers, PYTHONHASHSEED=workers), stdout=subprocess.DEVNULL
        )
        for workers in ("1", "2")
    ]
    assert [process.wait() for process in both] == [0, 0]
    spread = tables(here / "1")
    assert spread == tables(here / "2")
    assert main(["tiny.yaml", "--output", "serial"]) == 0
    serial = tables(here / "serial")
    assert serial == {name: content for name, content in spread.items() if name in serial}
    assert set(spread) - set(serial) == {f"{figure}.{kind}" for figure in FIGURES for kind in ("svg", "png")}


def test_two_commands_in_one_folder_at_once_do_not_harm_each_other(here: Path) -> None:
    both = [subprocess.Popen(command("--output", "shared"), stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    shared = tables(here / "shared")
    assert not list((here / "shared").rglob("*.tmp"))
    assert main(["tiny.yaml", "--output", "alone"]) == 0
    assert tables(here / "alone") == shared


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_stopped_command_loses_no_finished_run_and_goes_on(
    here: Path, capfd: pytest.CaptureFixture[str], number: signal.Signals, status: int
) -> None:
    """The signal goes to the whole group, as from a terminal or from the system."""
    arguments = ("--replications", "40", "--output", "stopped")
    runs = here / "stopped" / "runs"
    stoppable = ["env", "--default-signal=INT", *command(*arguments, "--workers", "2")]  # also behind `nohup ... &`
    with subprocess.Popen(stoppable, start_new_session=True) as process:
        while process.poll() is None and not (runs.exists() and any(runs.glob("[0-9a-f]*.json"))):
            os.sched_yield()
        os.killpg(process.pid, number)
        assert process.wait() == status
    finished = {path: path.read_bytes() for path in runs.glob("[0-9a-f]*.json")}
    assert 0 < len(finished) < 80
    errors = capfd.readouterr().err
    if number == signal.SIGINT:
        assert f"interrupted: {len(finished)} of 80 runs are finished" in errors
        assert "Traceback" not in errors
    assert main(["tiny.yaml", *arguments]) == 0
    assert all(path.read_bytes() == content for path, content in finished.items())
    assert f"{len(finished)} of them stored before" in capfd.readouterr().out
    resumed = tables(here / "stopped")
    assert main(["tiny.yaml", *arguments, "--fresh"]) == 0
    assert tables(here / "stopped") == resumed
