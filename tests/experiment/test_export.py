"""An exported run is the run again, under any seed: the same messages, metrics and facts, nanosecond by nanosecond."""

import csv
import re
from pathlib import Path

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.__main__ import main
from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.export import export_fate
from rudp_smtp.experiment.plan import Run, plan
from rudp_smtp.experiment.records import record
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.trace import Fact, ListSink

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SHORT = {"replications": "1", "workload.messages": "6"}
OTHER_SEED = "977"

PATH = """schema: 1
name: x
network:
  both:
    delay: {time: 10ms}
    rate: 10mbit
transport: {name: rudp}
workload: {name: smtp, messages: 6, size: {distribution: lognormal, median: 4KiB}}
"""
EVERYTHING = {
    "network.both.loss": "{model: gemodel, p: 5%, r: 30%, where: egress}",
    "network.both.duplicate": "20%",
    "network.both.corrupt": "{probability: 10%, bits: 3}",
    "network.both.reorder": "{probability: 10%, gap: 2, hold: 3ms}",
    "network.both.delay": "{time: 10ms, jitter: 4ms, distribution: pareto}",
    "network.both.slot": "{min_delay: 0ms, max_delay: 2ms, packets: 3}",
    "network.both.queue": "{discipline: red, limit: 12kB, min: 2kB, max: 6kB}",
}
RULES = """[{action: corrupt, larger: 500B, every: 3}, {action: duplicate, every: 7},
 {action: drop, frame: ack, nth: 4}, {action: delay, delay: 9ms, every: 5}, {action: corrupt, every: 4}]"""


def first_run(path: Path, settings: dict[str, str]) -> Run:
    return plan(load_scenario(path, list(settings.items())))[0]


def done(run: Run) -> tuple[object, object, str, list[Fact]]:
    """All that must be equal: messages, metrics, how it ended, every fact. What was asked of the links was not."""
    sink = ListSink()
    kept = record(execute(run, sink))
    metrics = {name: value for name, value in kept.metrics.items() if name != "asked_loss_ratio"}
    return kept.messages, metrics, kept.stop, sink.facts


def replay(original: Run, folder: Path) -> Run:
    path = export_fate(original, "replayed", folder)
    again = first_run(path, {"seed": str(original.seed % 1000 + 2)})
    assert again.seed != original.seed
    return again


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_scenario_there_is_replays_its_fate_under_another_seed(path: Path, tmp_path: Path) -> None:
    original = first_run(path, SHORT)
    assert done(replay(original, tmp_path)) == done(original)


def written(folder: Path, text: str = PATH) -> Path:
    (folder / "x.yaml").write_text(text)
    return folder / "x.yaml"


@pytest.mark.parametrize("seed", ["1", "2", "3"])
@pytest.mark.parametrize("discipline", ["red", "pie", "fq_codel", "codel"])
def test_all_impairments_together_are_replayed(discipline: str, seed: str, tmp_path: Path) -> None:
    settings = {**EVERYTHING, "seed": seed}
    if discipline != "red":
        settings["network.both.queue"] = discipline
    original = first_run(written(tmp_path), settings)
    facts = done(original)
    assert {getattr(fact, "fate", "") for fact in facts[3]} >= {"lost", "duplicated", "corrupted", "reordered"}
    assert done(replay(original, tmp_path)) == facts


def test_a_replay_of_a_replay_is_the_same(tmp_path: Path) -> None:
    original = first_run(written(tmp_path), EVERYTHING)
    (tmp_path / "again").mkdir()
    again = replay(original, tmp_path)
    assert done(replay(again, tmp_path / "again")) == done(original)


def test_rules_that_corrupt_flip_the_same_bits_again(tmp_path: Path) -> None:
    settings = {"network.both.match": RULES, "network.both.corrupt": "{probability: 5%}"}
    original = first_run(written(tmp_path), settings)
    assert done(replay(original, tmp_path)) == done(original)


EVENTS = """[{at: 30ms, for: 60ms, every: 200ms, set: {loss.p: 60%}}, {at: 50ms, for: 20ms, blackhole: true},
 {at: 10ms, for: 100ms, set: {delay.time: 25ms, delay.jitter: 3ms, corrupt: {probability: 20%}}},
 {at: 90ms, rebind: true}, {at: 70ms, on: reverse, set: {rate: 2mbit}}]"""


def test_events_stay_events_and_what_they_left_to_chance_is_listed(tmp_path: Path) -> None:
    settings = {"network.both.loss": "{model: random, p: 2%}", "network.events": EVENTS}
    original = first_run(written(tmp_path), settings)
    again = replay(original, tmp_path)
    assert [change.event.at for change in again.configuration.events] == [
        change.event.at for change in original.configuration.events
    ]
    assert done(again) == done(original)


def test_a_change_that_no_list_replays_is_refused(tmp_path: Path) -> None:
    settings = {"network.events": "[{at: 1ms, set: {slot: {min_delay: 1ms, max_delay: 9ms}}}]"}
    with pytest.raises(ConfigError, match="no list of packets replays") as caught:
        export_fate(first_run(written(tmp_path), settings), "y", tmp_path)
    assert caught.value.key == "network.events[0].set"


def test_a_rival_s_hosts_are_as_they_were(tmp_path: Path) -> None:
    rival = "{transport: {name: rudp}, workload: {name: bulk, size: 60kB}, count: 2}"
    original = first_run(written(tmp_path), {"rival": rival, **EVERYTHING, "network.both.queue": "fq_codel"})
    assert done(replay(original, tmp_path)) == done(original)


def test_a_corpus_is_found_from_where_the_scenario_was_written(tmp_path: Path) -> None:
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails" / "one.eml").write_bytes(b"From: a@example.org\r\n\r\nhello\r\n")
    (tmp_path / "far" / "away").mkdir(parents=True)
    original = first_run(written(tmp_path), {"workload": "{name: smtp, corpus: " + str(tmp_path / "mails") + "}"})
    again = replay(original, tmp_path / "far" / "away")
    assert done(again) == done(original)
    assert "../../mails" in (tmp_path / "far" / "away" / "replayed.yaml").read_text()


def test_long_lists_stand_beside_the_scenario_with_a_word_on_what_they_are(tmp_path: Path) -> None:
    export_fate(first_run(written(tmp_path), {**EVERYTHING, "workload.messages": "30"}), "y", tmp_path)
    flips = (tmp_path / "y.forward.flips").read_text().splitlines()
    assert flips[0] == "# packet, copy, bit"
    assert all(re.fullmatch(r"\d+ [01] \d+", line) for line in flips[1:])
    assert 'offsets: "y.forward.offsets"' in (tmp_path / "y.yaml").read_text()


def test_one_option_exports_every_run_of_a_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, PATH + "replications: 2\nexecutor: serial\nvary: {network.both.duplicate: [0%, 50%]}\n")
    fates, output = tmp_path / "fates", tmp_path / "out"
    assert main([str(path), "--output", str(output), "--export-fate", str(fates)]) == 0
    assert "4 scenarios that replay these runs" in capsys.readouterr().out
    exported = sorted(fates.glob("*.yaml"))
    assert [path.name for path in exported] == [f"x-run0000{number}.yaml" for number in range(4)]
    assert main([str(exported[3]), "--output", str(tmp_path / "again"), "--seed", OTHER_SEED]) == 0
    assert measured(tmp_path / "again" / "messages.csv") == measured(output / "messages.csv")[-6:]
    assert measured(tmp_path / "again" / "runs.csv") == measured(output / "runs.csv")[-1:]


def measured(path: Path) -> list[dict[str, str]]:
    """A table less its parameters."""
    parameters = {"replication", "seed", "driver", "host_seed", "asked_loss_ratio"}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if "." not in key and key not in parameters} for row in rows]


def test_live_runs_are_not_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path)
    options = ["--set", "driver=udp", "--export-fate", str(tmp_path / "fates"), "--output", str(tmp_path / "out")]
    assert main([str(path), *options]) == 2
    assert "cannot be exported here" in capsys.readouterr().err
