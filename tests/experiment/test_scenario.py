import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.scenario import Scenario, load_scenario
from rudp_smtp.link.config import RateConfig, SlotConfig
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))

BASE = """\
schema: 1
name: base
seed: 7
replications: 2
network:
  both:
    delay: {time: 20ms}
    rate: 20mbit
    loss: {model: random, p: 10%}
transport: {name: rudp}
workload: {name: smtp, messages: 2, size: 1KiB}
"""


def load(folder: Path, text: str, *overrides: tuple[str, str]) -> Scenario:
    path = folder / "x.yaml"
    path.write_text(text, encoding="utf-8")
    return load_scenario(path, overrides)


def refusal(folder: Path, text: str, *overrides: tuple[str, str]) -> list[str]:
    """The lines of the refusal, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides)
    return str(caught.value).replace(f"{folder.as_posix()}/", "").splitlines()


def the_refusal(folder: Path, text: str, *overrides: tuple[str, str]) -> str:
    lines = refusal(folder, text, *overrides)
    assert len(lines) == 1, lines
    return lines[0]


# What a good file means.


def test_values_become_nanoseconds_bytes_bits_and_thresholds(tmp_path: Path) -> None:
    scenario = load(tmp_path, BASE)
    (cell,) = scenario.cells
    link = cell.configuration.forward
    assert link.delay.time == 20 * MILLISECOND
    assert link.rate is not None
    assert link.rate.value == 20_000_000
    assert link.loss == Spec("random", (("p", PROBABILITY_ONE // 10 + 1),))
    assert cell.configuration.reverse == link
    assert cell.configuration.limits.time == 600 * SECOND
    assert (scenario.name, scenario.seed, scenario.replications) == ("base", 7, 2)


def test_defaults_are_written_out(tmp_path: Path) -> None:
    scenario = load(tmp_path, BASE)
    assert (scenario.driver, scenario.executor, scenario.compare, scenario.axes) == ("sim", "local", None, ())
    document = json.loads(scenario.cells[0].document)
    assert document["limits"] == {"time": "600s", "events": 50_000_000}
    assert document["network"]["forward"] == {
        "mtu": None,
        "loss": {"model": "random", "p": "10%", "where": "ingress"},
        "duplicate": "0%",
        "corrupt": None,
        "queue": {"discipline": "droptail", "limit": None, "packets": None, "mark": None},
        "rate": {"value": "20mbit", "packet_overhead": 0},
        "delay": {"time": "20ms", "jitter": "0ns", "distribution": {"model": "uniform"}, "keep_order": False},
        "reorder": None,
        "header_bytes": "28B",
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_loading_twice_gives_equal_scenarios(path: Path) -> None:
    assert load_scenario(path) == load_scenario(path)


def test_a_scenario_is_frozen(tmp_path: Path) -> None:
    scenario = load(tmp_path, BASE)
    with pytest.raises(FrozenInstanceError):
        scenario.seed = 2  # type: ignore[misc]


def test_each_direction_may_be_given_alone(tmp_path: Path) -> None:
    text = BASE.replace("  both:", "  reverse: {}\n  forward:")
    (cell,) = load(tmp_path, text).cells
    assert cell.configuration.forward.rate is not None
    assert cell.configuration.reverse.rate is None


def test_the_loss_says_where_it_happens(tmp_path: Path) -> None:
    (cell,) = load(tmp_path, BASE.replace("p: 10%", "p: 10%, where: egress")).cells
    assert cell.configuration.forward.where == "egress"


def test_a_stage_may_be_null(tmp_path: Path) -> None:
    (cell,) = load(tmp_path, BASE, ("network.both.loss", "null"), ("network.both.rate", "~")).cells
    assert cell.configuration.forward.loss is None
    assert cell.configuration.forward.rate is None


@pytest.mark.parametrize("written", ["10%", "0.1", "'0.1'", "1e-1", "0.10"])
def test_equal_probabilities_are_equal_however_they_are_written(tmp_path: Path, written: str) -> None:
    assert load(tmp_path, BASE.replace("10%", written)).cells == load(tmp_path, BASE).cells


# The grid.


def test_the_grid_is_the_product_in_the_files_order(tmp_path: Path) -> None:
    vary = "vary:\n  network.both.loss.p: [0, 0.01]\n  transport.congestion: [new_reno, {model: cubic}, cubic]\n"
    scenario = load(tmp_path, BASE + vary.replace(", cubic]", "]"))
    assert [cell.parameters for cell in scenario.cells] == [
        (("network.both.loss.p", loss), ("transport.congestion", congestion))
        for loss in ("0%", "1%")
        for congestion in ("new_reno", "cubic")
    ]
    assert scenario.axes[0].values == ("0%", "1%")


def test_a_varied_plug_in_shows_what_was_said_of_it(tmp_path: Path) -> None:
    vary = "vary: {network.reverse.loss: [null, {model: gemodel, p: 1%, r: 0.25, where: egress}, random]}\n"
    assert "needs the parameter 'p'" in the_refusal(tmp_path, BASE + vary)
    scenario = load(tmp_path, BASE + vary.replace(", random", ""))
    assert scenario.axes[0].values == ("none", "gemodel(p=1% r=25% where=egress)")
    assert [cell.configuration.reverse.where for cell in scenario.cells] == ["ingress", "egress"]
    assert all(cell.configuration.forward.where == "ingress" for cell in scenario.cells)


def test_a_bare_value_can_be_varied_below(tmp_path: Path) -> None:
    scenario = load(tmp_path, BASE + "vary: {network.both.rate.packet_overhead: [0, 14]}\n")
    overheads = [cell.configuration.forward.rate for cell in scenario.cells]
    assert [rate and (rate.value, rate.packet_overhead) for rate in overheads] == [(20_000_000, 0), (20_000_000, 14)]


def test_a_baseline_is_a_point_of_the_grid(tmp_path: Path) -> None:
    vary = "vary: {network.both.loss.p: [0%, 1%]}\n"
    compare = "compare: {baseline: {network.both.loss.p: 0%}, metric: completion_ms}\n"
    scenario = load(tmp_path, BASE + vary + compare)
    assert scenario.compare is not None
    assert scenario.compare.baseline == (("network.both.loss.p", "0%"),)
    lines = refusal(tmp_path, BASE + vary + compare.replace(": 0%", ": 2%").replace("completion", "completoin"))
    assert lines == [
        "x.yaml:13: compare.baseline.network.both.loss.p: '2%' is not a value of network.both.loss.p; "
        "did you mean '1%'? known: 0%, 1%",
        lines[1],
    ]
    assert lines[1].startswith(
        "x.yaml:13: compare.metric: unknown metric 'completoin_ms'; did you mean 'completion_ms'"
    )


def test_a_baseline_is_not_blamed_for_an_axis_that_cannot_be_read(tmp_path: Path) -> None:
    text = BASE + "vary: {network.both.loss.p: [130%]}\n"
    text += "compare: {baseline: {network.both.loss.p: 1%}, metric: completion_ms}\n"
    assert the_refusal(tmp_path, text).startswith("x.yaml:12: vary.network.both.loss.p[0]: '130%' is more than certain")


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("{network.both.loss.p: []}", "vary.network.both.loss.p: an empty list leaves no run; expected at least one"),
        ("{network.both.loss.p: 1%}", "vary.network.both.loss.p: expected a list of values, got '1%'"),
        ("{network.both.loss.p: [1%, 150%]}", "vary.network.both.loss.p[1]: '150%' is more than certain; expected a"),
        (
            "{network.both.loss.p: [1%, 0.01]}",
            "vary.network.both.loss.p: the grid has the same cell twice: network.both.loss.p 1%",
        ),
        ("{network.both.los.p: [1%, 2%]}", "vary.network.both.los.p: unknown key 'los'; did you mean 'loss'? known: "),
        (
            "{transport.congetsion: [cubic, new_reno]}",
            "vary.transport.congetsion: transport 'rudp' has no parameter 'congetsion'; did you mean 'congestion'?",
        ),
        (
            "{transport.congestion: [cubic, new_rno]}",
            "vary.transport.congestion[1]: unknown congestion 'new_rno'; did you mean 'new_reno'?",
        ),
        ("{sed: [1, 2]}", "vary.sed: 'sed' cannot be varied; known: network..., transport..., workload..., limits..."),
        ("{netwrk.both.loss.p: [1%]}", "vary.netwrk.both.loss.p: 'netwrk.both.loss.p' cannot be varied; did you mean"),
        ("{network..loss: [1%]}", "vary.network..loss: 'network..loss' cannot be varied"),
        (
            "{network.both.loss.p: [1%], network.forward.loss: [null]}",
            "vary.network.forward.loss: would undo 'network.both.loss.p'; expected the wider key first, or only one",
        ),
        (f"{{workload.messages: {list(range(1, 10_002))}}}", "vary: a grid of 10001 cells; expected at most 10000"),
    ],
)
def test_every_value_of_the_grid_is_checked(tmp_path: Path, vary: str, message: str) -> None:
    assert the_refusal(tmp_path, f"{BASE}vary: {vary}\n").startswith(f"x.yaml:12: {message}")


def test_a_plan_that_no_memory_holds_is_refused(tmp_path: Path) -> None:
    text = BASE + "vary: {transport.congestion: [cubic, new_reno]}\n"
    message = the_refusal(tmp_path, text, ("replications", "1000000"))
    assert message == "--set: replications: 2 cells times 1000000 runs are too many; expected at most 1000000 in all"


# Overrides.


def test_a_set_value_replaces_the_files(tmp_path: Path) -> None:
    scenario = load(tmp_path, BASE, ("seed", "3"), ("network.both.loss.p", "5%"), ("network.reverse.loss.p", "1%"))
    (cell,) = scenario.cells
    assert scenario.seed == 3
    assert scenario.cells[0] == load(tmp_path, BASE.replace("10%", "5%"), ("network.reverse.loss.p", "1%")).cells[0]
    assert cell.configuration.forward != cell.configuration.reverse


def test_a_set_value_can_make_stages_and_the_grid(tmp_path: Path) -> None:
    overrides = ("network", "{both: {}}"), ("network.both.corrupt.probability", "1%"), ("vary.seed", "[1]")
    assert the_refusal(tmp_path, BASE, *overrides).startswith("--set: vary.seed: 'seed' cannot be varied")
    scenario = load(tmp_path, BASE, *overrides[:2], ("vary.workload.messages", "[1, 2]"))
    assert scenario.axes[0].values == ("1", "2")
    link = scenario.cells[1].configuration.reverse
    assert link.corrupt is not None
    assert (link.loss, link.corrupt.bits) == (None, 1)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("network.both.loss.p", "130%", "network.both.loss.p: '130%' is more than certain; expected a probability"),
        ("network.both.los.p", "1%", "network.both.los.p: unknown key 'los'; did you mean 'loss'?"),
        ("network.both.loss", "{model: random}", "network.both.loss: loss model 'random' needs the parameter 'p'"),
        ("foo.bar", "1", "foo.bar: unknown key 'foo'; known: schema, name"),
        ("a..b", "1", "a..b: not a key; expected names with dots between, such as network.both.loss.p"),
        ("seed", "", "seed: no value; expected key=value, or key=null for none"),
        ("seed", "[1", "seed: not YAML: while parsing a flow sequence"),
        ("seed", "{a: 1, a: 2}", "seed.a: duplicate key 'a'; expected it once"),
        ("seed", "many", "seed: expected a whole number, got 'many'"),
    ],
)
def test_a_bad_set_value_is_told_by_its_key(tmp_path: Path, key: str, value: str, message: str) -> None:
    assert refusal(tmp_path, BASE, (key, value))[0].startswith(f"--set: {message}")


def test_a_varied_key_cannot_be_set(tmp_path: Path) -> None:
    text = BASE + "vary: {network.both.loss.p: [1%, 2%]}\n"
    message = the_refusal(tmp_path, text, ("network.forward.loss.p", "5%"))
    assert message.startswith(
        "--set: network.forward.loss.p: varied by the scenario; expected vary.network.both.loss.p"
    )
    narrowed = load(tmp_path, text, ("vary.network.both.loss.p", "[5%]"))
    assert narrowed.axes[0].values == ("5%",)
    assert load(tmp_path, text, ("vary", "null"), ("network.both.loss.p", "5%")).axes == ()


# Refusals: file, line, key, what was expected, the nearest name.


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        (
            "    loss:",
            "    los:",
            "9: network.both.los: unknown key 'los'; did you mean 'loss'? known: mtu, loss, duplicate",
        ),
        ("seed: 7", "sed: 7", "3: sed: unknown key 'sed'; did you mean 'seed'? known: schema, name, description, seed"),
        ("seed: 7", "includes: other", "3: includes: unknown key 'includes'; known: "),
        ("seed: 7", "name: again", "3: name: duplicate key 'name' (first in line 2); expected it once"),
        ("p: 10%", "p: 1%, p: 2%", "9: network.both.loss.p: duplicate key 'p' (first in line 9); expected it once"),
        ("20ms", "20", "7: network.both.delay.time: 20 has no unit; expected a duration such as 20ms (units: ns, us"),
        ("20mbit", "20", "8: network.both.rate.value: 20 has no unit; expected a rate such as 20mbit (units: bit"),
        ("20mbit", "20mbps", "8: network.both.rate.value: '20mbps': unknown unit 'mbps'; expected a rate such as"),
        ("1KiB", "1024", "11: workload.size: 1024 has no unit; expected a size such as 64KiB (units: B, kB"),
        ("10%", "130%", "9: network.both.loss.p: '130%' is more than certain; expected a probability: a fraction"),
        (
            "10%",
            "10",
            "9: network.both.loss.p: 10 is more than certain; expected a probability: a fraction from 0 to 1",
        ),
        ("10%", "-1%", "9: network.both.loss.p: '-1%' is not a probability; expected a probability"),
        ("10%", ".nan", "9: network.both.loss.p: '.nan' is not a probability; expected a probability"),
        (
            "model: random",
            "model: rnadom",
            "9: network.both.loss.model: unknown loss model 'rnadom'; did you mean 'ran",
        ),
        ("p: 10%", "q: 10%", "9: network.both.loss.q: loss model 'random' has no parameter 'q'; "),
        ("p: 10%", "p: 1%, where: inside", "9: network.both.loss.where: where 'inside' does not exist; known: ingress"),
        ("    loss:", "    where: egress\n    loss:", "9: network.both.where: 'where' belongs to the loss; expected"),
        ("name: rudp", "name: rdp", "10: transport.name: unknown transport 'rdp'; did you mean 'rudp'? known: "),
        ("name: rudp", "nam: rudp", "10: transport: expected the name of a transport, or {name: NAME"),
        ("name: rudp", "name: rudp, tls: on", "10: transport.tls: transport 'rudp' has no parameter 'tls'; "),
        ("name: smtp", "name: smtp, corpus: no", "11: workload.corpus: 'no' does not exist; expected a folder of mess"),
        (
            "size: 1KiB",
            "size: 65MiB",
            "11: workload.size: 68157440B is too large: a generated message has at most 64MiB",
        ),
        (
            "messages: 2",
            "messages: 2000000",
            "11: workload.messages: 2000000 messages; expected at least 1 and at most",
        ),
        ("messages: 2", 'corpus: ""', "11: workload.corpus: an empty path"),
        ("messages: 2", "messages: two", "11: workload.messages: expected a whole number, got 'two'"),
        ("messages: 2", "messages: 1e3", "11: workload.messages: expected a whole number, got 1000.0"),
        ("messages: 2", "messages: 010", "11: workload.messages: expected a whole number, got '010'"),
        ("messages: 2", "messages: 1:30", "11: workload.messages: expected a whole number, got '1:30'"),
        ("seed: 7", "seed: -1", "3: seed: -1 is out of range; expected at least 0"),
        ("seed: 7", f"seed: {2**63}", f"3: seed: {2**63} is out of range; expected at most {2**63 - 1}"),
        ("seed: 7", "seed: yes", "3: seed: expected a whole number, got 'yes'"),
        ("seed: 7", "seed: true", "3: seed: expected a whole number, got true"),
        ("seed: 7", "seed: 1.5", "3: seed: expected a whole number, got 1.5"),
        ("seed: 7", "seed: [7]", "3: seed: expected a whole number, got a list"),
        ("seed: 7", "seed:", "3: seed: expected a whole number, got null"),
        ("replications: 2", "replications: 0", "4: replications: 0 is out of range; expected at least 1"),
        ("name: base", "name: ../up", "2: name: '../up' names no folder of results; expected letters, digits"),
        ("name: base", "name: 5", "2: name: expected text, got 5"),
        ("schema: 1", "schema: 2", "1: schema: schema 2 does not exist; known: 1"),
        ("schema: 1\n", "", "1: needs the key 'schema'"),
        (
            "seed: 7",
            "driver: ns3",
            "3: driver: driver 'ns3' does not exist; did you mean 'netns'? known: sim, udp, netns",
        ),
        ("seed: 7", "executor: lokal", "3: executor: unknown executor 'lokal'; expected serial, local, or local:N"),
        ("seed: 7", "executor: local:0", "3: executor: unknown executor 'local:0'; expected serial, local, or local:N"),
        ("seed: 7", "limits: {time: 0s}", "3: limits.time: a run needs some virtual time; expected a duration"),
        ("seed: 7", "limits: {tim: 1s}", "3: limits.tim: unknown key 'tim'; did you mean 'time'? known: time, events"),
        ("seed: 7", "limits: 600s", "3: limits: '600s' is not a mapping; expected the keys time, events"),
        ("seed: 7", "vary: [a]", "3: vary: expected a mapping of keys, got a list"),
        ("  both:", "  forward: {}\n  both:", "6: network.forward: 'forward' beside 'both'; expected 'both', or"),
        (
            "  both:",
            "  boht:",
            "6: network.boht: unknown key 'boht'; did you mean 'both'? known: both, forward, reverse",
        ),
        ("  both:", "  forward:", "5: network: needs the key 'reverse'"),
        ("    delay: {time: 20ms}", "    reorder: {probability: 1%}", "7: network.both.reorder: packets can only skip"),
        ("{time: 20ms}", "20ms", "7: network.both.delay: '20ms' is not a mapping; expected the keys time, jitter"),
        ("20ms", "&t 20ms", "7: not YAML: an anchor or alias (t) is not taken here; expected the value itself"),
        ("seed: 7", "seed: !!str 7", "3: not YAML: a tag (tag:yaml.org,2002:str) is not taken here"),
        ("seed: 7", "? [a]\n: b", "3: a list or a mapping is no key; expected a name"),
        (
            "  both:",
            "\tboth:",
            "6: not YAML: while scanning for the next token, found character '\\t' that cannot start",
        ),
        ("{name: rudp}", "{name: rudp", "11: not YAML: while parsing a flow mapping"),
        ("seed: 7", "---\nseed: 7", "3: not YAML: expected a single document in the stream"),
        ("seed: 7", "seed: \x01", "3: not YAML: character 1: special characters are not allowed"),
    ],
)
def test_a_refusal_names_line_key_and_remedy(tmp_path: Path, good: str, bad: str, message: str) -> None:
    assert good in BASE
    assert refusal(tmp_path, BASE.replace(good, bad, 1))[0].startswith(f"x.yaml:{message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.yaml:1: the file is empty; expected a mapping of keys: schema, name, network, ..."),
        ("# nothing\n", "x.yaml:1: the file is empty; expected a mapping of keys: schema, name, network, ..."),
        ("- a\n", "x.yaml:1: a list is no scenario; expected a mapping of keys: schema, name, network, ..."),
        ("text\n", "x.yaml:1: a single value is no scenario; expected a mapping of keys: schema, name, network, ..."),
        ("[" * 1_000, "x.yaml:1: not YAML: nested too deeply"),
    ],
)
def test_what_is_no_scenario_at_all_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert the_refusal(tmp_path, text) == message


def test_several_problems_are_told_at_once_in_the_files_order(tmp_path: Path) -> None:
    text = BASE.replace("seed", "sed").replace("20ms", "20").replace("10%", "130%").replace("rudp", "rdup")
    assert [line.split(": ")[:2] for line in refusal(tmp_path, text)] == [
        ["x.yaml:3", "sed"],
        ["x.yaml:7", "network.both.delay.time"],
        ["x.yaml:9", "network.both.loss.p"],
        ["x.yaml:10", "transport.name"],
    ]


def test_a_refusal_carries_the_key_of_its_first_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, BASE.replace("10%", "130%"))
    assert caught.value.key == "network.both.loss.p"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file or directory"):
        load_scenario(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_scenario(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"schema: 1\nname: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:2: not UTF-8 text"):
        load_scenario(path)


# The corpus.


def test_a_corpus_is_looked_for_beside_the_scenario_and_named_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "post").mkdir()
    (tmp_path / "post" / "one").write_bytes(b"Subject: x\n\nhello\n")
    scenario = load(tmp_path, BASE.replace("messages: 2", "messages: 1, corpus: ./post"))
    document = json.loads(scenario.cells[0].document)["workload"]
    assert document["corpus"] == "post"
    assert len(document["corpus_sha256"]) == 64
    assert dict(scenario.cells[0].configuration.workload.parameters)["corpus"] == str((tmp_path / "post").resolve())
    assert str(tmp_path) not in json.dumps(scenario.document())


def test_an_empty_corpus_is_refused_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "post").mkdir()
    message = the_refusal(tmp_path, BASE.replace("messages: 2", "corpus: post"))
    assert message.startswith("x.yaml:11: workload.corpus: 'post' holds no message; expected a folder of messages")


def test_a_set_corpus_is_looked_for_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "post").write_bytes(b"From a@b.example Thu Jan  1 00:00:00 1970\nSubject: x\n\nhello\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    (cell,) = load(tmp_path, BASE, ("workload.corpus", "post")).cells
    assert json.loads(cell.document)["workload"]["corpus"] == "post"
    assert "workload.corpus: 'nowhere' does not exist" in the_refusal(tmp_path, BASE, ("workload.corpus", "nowhere"))


def test_a_rate_may_be_a_trace_in_a_file_or_a_list(tmp_path: Path) -> None:
    (tmp_path / "lte.trace").write_text("1\n5\n9\n")
    texts = [BASE.replace("20mbit", trace) for trace in ("{trace: lte.trace}", "{trace: [1, 5, 9]}")]
    one, other = (load(tmp_path, text).cells for text in texts)
    assert one == other
    assert one[0].configuration.forward.rate == RateConfig(trace=(1, 5, 9))
    assert the_refusal(tmp_path, BASE.replace("20mbit", "{trace: [1, 5, 4]}")).startswith(
        "x.yaml:8: network.both.rate.trace[2]: 4 ms comes before 5 ms"
    )


def test_cells_and_slots_are_keys_of_a_link(tmp_path: Path) -> None:
    text = BASE.replace(
        "rate: 20mbit",
        "rate: {value: 20mbit, cell_size: 48, cell_overhead: 5}\n    "
        "slot: {min_delay: 1ms, max_delay: 2ms, packets: 8}",
    )
    (cell,) = load(tmp_path, text).cells
    assert cell.configuration.forward.rate == RateConfig(value=20_000_000, cell_size=48, cell_overhead=5)
    assert cell.configuration.forward.slot == SlotConfig(min_delay=MILLISECOND, max_delay=2 * MILLISECOND, packets=8)


def test_what_is_not_used_is_not_said_so_that_stored_runs_keep_their_keys(tmp_path: Path) -> None:
    (cell,) = load(tmp_path, BASE).cells
    assert not {"slot", "cell_size", "trace"} & set(cell.document.replace('"', " ").split())
