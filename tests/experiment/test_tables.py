"""Tables: fixed columns with units, all parameters in every row, the same bytes whatever happened on the way."""

import csv
import io
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from rudp_smtp.experiment.metrics import METRICS, UNITS
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.records import Record, record
from rudp_smtp.experiment.tables import (
    Invocation,
    Results,
    encode_csv,
    links_csv,
    messages_csv,
    runs_csv,
    summary_csv,
    write_tables,
)
from rudp_smtp.experiment.trace_table import FirstFacts, write_trace
from rudp_smtp.trace import PacketLost, Sink
from tests.experiment import invented

PARAMETERS = ["network.both.loss.p", "network.forward.loss.p", "workload.messages", "driver"]


def results(*, replications: int = 3, compare: bool = False) -> Results:
    scenario = invented.scenario(replications=replications, compare=compare)
    runs = plan(scenario)
    return Results(scenario, runs, [invented.perform(run) for run in runs])


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def censored(original: Record) -> Record:
    metrics = {**original.metrics, "completion_ms": None}
    return replace(original, stop="time_limit", metrics=metrics)


def test_runs_csv_has_a_row_for_each_run_with_parameters_seed_and_every_metric() -> None:
    found = rows(runs_csv(results()))
    assert list(found[0]) == [*PARAMETERS, "replication", "seed", "stop", "invalid", "notes", *METRICS.names()]
    assert [row["network.both.loss.p"] for row in found] == ["0%"] * 3 + ["10%"] * 3
    assert [row["replication"] for row in found] == ["0", "1", "2"] * 2
    assert [row["seed"] for row in found[:3]] == [row["seed"] for row in found[3:]]


def test_messages_csv_has_a_row_for_each_message_and_links_csv_for_each_direction() -> None:
    given = results()
    messages, links = rows(messages_csv(given)), rows(links_csv(given))
    assert len(messages) == 6 * invented.MESSAGES
    assert messages[0]["name"] == "generated-0000"
    assert messages[0]["is_intact"] == "true"
    assert [row["direction"] for row in links[:2]] == ["forward", "reverse"]
    for row in (messages[0], links[0]):
        assert list(row)[: len(PARAMETERS) + 2] == [*PARAMETERS, "replication", "seed"]


def test_columns_that_measure_end_in_a_unit() -> None:
    given = results()
    plain = {
        "replication",
        "seed",
        "stop",
        "invalid",
        "notes",
        "message",
        "name",
        "changed_before_sending",
        "session",
        "status",
        "is_intact",
        "reply",
        "direction",
        "asked_loss",
    }
    for content in (runs_csv(given), messages_csv(given), links_csv(given)):
        for column in rows(content)[0]:
            unit = column.rsplit("_", 1)[-1]
            assert column in {*PARAMETERS, *plain} or unit in UNITS or unit == "verdict", column


def test_csv_is_utf_8_with_lf_raw_whole_numbers_and_shortest_floats() -> None:
    content = encode_csv(["a", "b"], [[1, 0.1], [None, True], ['é, "x"\ny', -0.0], [2**60, 1e-06]])
    assert content.decode() == 'a,b\n1,0.1\n,true\n"é, ""x""\ny",0.0\n1152921504606846976,1e-06\n'
    assert encode_csv(["name"], [["\udcff"]]) == b"name\n\\udcff\n"


def test_a_parameter_that_only_some_cells_have_is_empty_in_the_others() -> None:
    given = results()
    more = [replace(r, parameters={**r.parameters, "network.forward.loss.r": "5%"}) for r in given.records[3:]]
    found = rows(runs_csv(replace(given, records=[*given.records[:3], *more])))
    assert [row["network.forward.loss.r"] for row in found] == ["", "", "", "5%", "5%", "5%"]


def test_summary_csv_has_quantiles_with_intervals_for_each_cell_and_metric() -> None:
    found = rows(summary_csv(results(replications=25)))
    assert len(found) == 2 * len(METRICS.names())
    row = next(row for row in found if row["metric"] == "completion_ms")
    assert (row["runs_count"], row["censored_count"], row["missing_count"]) == ("25", "0", "0")
    assert float(row["mean_low"]) < float(row["mean"]) < float(row["mean_high"])
    assert float(row["median_low"]) <= float(row["median"]) <= float(row["median_high"])
    assert row["p95"]
    assert row["p95_high"] == ""  # 25 runs bound no p95 from above
    assert "difference_mean" not in row


def test_a_censored_run_is_counted_as_later_than_any_other_and_leaves_the_mean_unknown() -> None:
    given = results(replications=5)
    records = [*given.records[:4], censored(given.records[4]), *given.records[5:]]
    row = next(r for r in rows(summary_csv(replace(given, records=records))) if r["metric"] == "completion_ms")
    assert (row["runs_count"], row["censored_count"], row["missing_count"]) == ("5", "1", "1")
    assert row["mean"] == row["mean_low"] == row["p95"] == ""
    finite = sorted(r.metrics["completion_ms"] or 0 for r in given.records[:4])
    assert float(row["median"]) == finite[2]


def test_a_comparison_adds_paired_differences_to_the_baseline() -> None:
    found = [row for row in rows(summary_csv(results(compare=True))) if row["metric"] == "goodput_bps"]
    assert [row["pairs_count"] for row in found] == ["3", "3"]
    assert [row["difference_mean"] for row in found] == ["0.0", "0.0"]  # the same seeds make the same inventions


def test_tables_are_the_same_bytes_however_the_records_came(tmp_path: Path) -> None:
    given = results()
    stored = [Record.from_document(json.loads(json.dumps(r.document(), sort_keys=True))) for r in given.records]
    for folder, variant in (("a", given), ("b", replace(given, records=stored))):
        (tmp_path / folder).mkdir()
        write_tables(tmp_path / folder, variant, Invocation(["x"], reused=len(folder), seconds=1.5))
    for path in (tmp_path / "a").glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_the_manifest_holds_scenario_versions_and_digests(tmp_path: Path) -> None:
    paths = write_tables(tmp_path, results(), Invocation(["configs/invented.yaml"], reused=2, seconds=1.23456))
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir())
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    assert manifest["scenario"]["name"] == "invented"
    assert manifest["runs"] == {"total": 6, "reused": 2, "censored": 0, "invalid": 0}
    assert manifest["wall_seconds"] == 1.235
    assert {"rudp_smtp", "model", "draws", "python", "numpy"} <= set(manifest["versions"])
    assert manifest["sha256"]["runs.csv"] == sha256((tmp_path / "runs.csv").read_bytes()).hexdigest()


def test_a_run_without_messages_has_rows_too() -> None:
    scenario = invented.scenario(replications=1, losses=("0%",))
    runs = plan(scenario)
    given = Results(scenario, runs, [record(invented.empty_facts(runs[0]))])
    assert rows(runs_csv(given))[0]["stop"] == "time_limit"
    assert rows(messages_csv(given)) == []
    assert len(rows(summary_csv(given))) == len(METRICS.names())


def test_a_trace_has_a_row_for_each_fact_and_is_made_once_for_a_run(tmp_path: Path) -> None:
    made = []

    def simulate(run: object, sink: Sink) -> None:
        made.append(run)
        invented.simulate(invented.runs()[0], sink)
        sink.emit(PacketLost(1_500_000, "client", 0, 5, "time_threshold"))

    first, second = invented.runs()[:2]
    path = write_trace(tmp_path, first, simulate)
    content = path.read_bytes()
    found = rows(content)
    assert found[0]["event"] == "packet_sent"
    assert found[0]["streams"] == "0:0-1200"
    assert found[0]["is_ack_eliciting"] == "true"
    assert (found[-1]["event"], found[-1]["time_ms"], found[-1]["trigger"]) == ("packet_lost", "1.5", "time_threshold")
    write_trace(tmp_path, first, simulate)
    assert len(made) == 1
    write_trace(tmp_path, second, simulate)
    assert len(made) == 2
    path.write_bytes(b"torn")
    write_trace(tmp_path, first, simulate)
    assert path.read_bytes() == content


def test_of_a_long_run_the_beginning_is_kept() -> None:
    sink = FirstFacts(3)
    invented.simulate(invented.runs()[0], sink)
    assert [fact.time for fact in sink.facts] == [0, 0, 40_000_000]
