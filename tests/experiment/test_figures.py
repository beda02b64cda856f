"""Figures come from CSV alone, the same bytes every time, whatever the tables hold."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rudp_smtp.experiment.figures import (
    DIVERGING,
    HeatMap,
    draw_figures,
    draw_heat_maps,
    draw_latencies,
    draw_time_sequence,
    save,
    style,
)
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.records import record
from rudp_smtp.experiment.tables import Invocation, Results, write_tables
from rudp_smtp.experiment.trace_table import write_trace
from tests.experiment import invented

NAMES = ["latency_ecdf.png", "latency_ecdf.svg", "time_sequence.png", "time_sequence.svg"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("results")
    scenario = invented.scenario(replications=3)
    runs = plan(scenario)
    write_tables(made, Results(scenario, runs, [invented.perform(run) for run in runs]), Invocation([], 0, 0.0))
    write_trace(made, runs[0], invented.simulate)
    return made


def test_every_figure_is_drawn_as_svg_and_png_to_the_same_bytes_each_time(folder: Path) -> None:
    paths = draw_figures(folder)
    assert sorted(path.name for path in paths) == NAMES
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in draw_figures(folder)] == first
    assert all(
        content.startswith(b"\x89PNG") for path, content in zip(paths, first, strict=True) if path.suffix == ".png"
    )


def test_of_two_varied_keys_one_is_the_colour_and_the_other_the_line_style() -> None:
    grid = [(timer, loss) for timer in ("pto", "rfc6298", "fixed") for loss in ("0%", "5%")]
    rows = [
        {"timer": timer, "loss": loss, "replication": "0", "status": "delivered", "latency_ms": str(40 + place)}
        for place, (timer, loss) in enumerate(grid)
    ]
    (axes,) = draw_latencies(rows, ("timer", "loss"), "grid").axes
    looks = {line.get_label(): (line.get_color(), line.get_linestyle()) for line in axes.lines}
    for timer, loss in grid:
        colour, style = looks[f"{timer}, {loss}"]
        assert [colour == looks[f"{other}, {loss}"][0] for other in ("pto", "rfc6298", "fixed")].count(True) == 1
        assert all(style == looks[f"{other}, {loss}"][1] for other in ("pto", "rfc6298", "fixed"))


def test_an_svg_names_no_date_and_no_program_version(folder: Path) -> None:
    draw_figures(folder)
    for name in ("latency_ecdf.svg", "time_sequence.svg"):
        assert "<dc:date>" not in (folder / name).read_text()


def test_figures_import_nothing_of_ours_that_simulates() -> None:
    code = "import sys, rudp_smtp.experiment.figures; print(*sorted(m for m in sys.modules if 'rudp_smtp' in m))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    simulating = ("link", "drivers", "transport", "workload", "smtp", "experiment.build", "experiment.runner")
    assert not [name for name in output.split() if name.removeprefix("rudp_smtp.").startswith(simulating)]


def test_a_run_in_which_nothing_happened_is_drawn_too(tmp_path: Path) -> None:
    scenario = invented.scenario(replications=1, losses=("0%",))
    runs = plan(scenario)
    results = Results(scenario, runs, [record(invented.empty_facts(runs[0]))])
    write_tables(tmp_path, results, Invocation([], 0, 0.0))
    write_trace(tmp_path, runs[0], lambda run, sink: None)
    assert sorted(path.name for path in draw_figures(tmp_path)) == NAMES


def test_more_cells_than_colours_and_very_late_messages_are_drawn_too(tmp_path: Path) -> None:
    scenario = invented.scenario(replications=1, losses=tuple(f"{percent}%" for percent in range(9)))
    runs = plan(scenario)
    facts = [invented.facts(run) for run in runs]
    late = facts[0].report.deliveries[0]
    late.completed_at = 90_000_000_000
    facts[1].report.deliveries[0].completed_at = None
    results = Results(scenario, runs, [record(fact) for fact in facts])
    write_tables(tmp_path, results, Invocation([], 0, 0.0))
    write_trace(tmp_path, runs[0], invented.simulate)
    assert sorted(path.name for path in draw_figures(tmp_path)) == NAMES


def test_a_heat_map_writes_every_share_and_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    panel = HeatMap("one queue", ["a", "b"], ["c", "d"], [[0.0, 0.5], [1.0, None]])
    drawn = []
    for name in ("first", "again"):
        with style():
            figure = draw_heat_maps([panel, panel], ("row", "column"), ("title", "note"), DIVERGING)
            drawn.append([path.read_bytes() for path in save(figure, tmp_path / name)])
    assert drawn[0] == drawn[1]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["0%", "50%", "100%", "-"]


def test_losses_are_found_on_a_link_that_others_share() -> None:
    """The index of a packet on its link counts the packets of every host on its side."""
    sent = {
        "event": "packet_sent",
        "connection": "0",
        "is_retransmission": "false",
        "link": "",
        "fate": "",
        "seed": "1",
    }
    rows = []
    for number in range(6):
        for host in ("client", "rival-client"):
            streams = f"0:{number * 1000}-{number * 1000 + (1000 if host == 'client' else 10)}"
            own = {"host": host, "packet_number": str(number), "streams": streams, "time_ms": str(number), "index": ""}
            rows.append(sent | own)
    fate = {"event": "link_fate", "host": "", "connection": "", "packet_number": "", "streams": "", "time_ms": "9"}
    rows.append(fate | {"link": "forward", "index": "6", "fate": "lost"})
    figure = draw_time_sequence(rows, "shared")
    (lost,) = (line for line in figure.axes[0].lines if str(line.get_label()).startswith("lost"))
    assert np.asarray(lost.get_xdata(), dtype=float).tolist() == [3.0]
