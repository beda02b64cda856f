import json
import pickle
from pathlib import Path

import pytest

from rudp_smtp.experiment.plan import Run, plan, replication_seeds, run_key
from rudp_smtp.experiment.scenario import canonical, load_scenario

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))

BASE = """\
schema: 1
name: base
seed: 7
replications: 3
network: {both: {delay: {time: 20ms}, rate: 20mbit, loss: {model: random, p: 10%}}}
transport: {name: rudp}
workload: {name: smtp, messages: 2, size: 1KiB}
"""
GRID = "vary: {network.both.loss.p: [0%, 1%], transport.congestion: [new_reno, cubic]}\n"

TINY: dict[str, object] = {
    "limits": {"events": 1000, "time": "1s"},
    "network": {"forward": {"loss": None}, "reverse": {"loss": {"model": "random", "p": "10%", "where": "ingress"}}},
    "transport": {"name": "rudp"},
    "workload": {"name": "smtp", "corpus": "Entwürfe", "messages": 1},
}


def runs(folder: Path, text: str, *overrides: tuple[str, str]) -> list[Run]:
    path = folder / "x.yaml"
    path.write_text(text, encoding="utf-8")
    return plan(load_scenario(path, overrides))


def keys(folder: Path, text: str, *overrides: tuple[str, str]) -> list[str]:
    return [run.key for run in runs(folder, text, *overrides)]


def test_the_plan_is_the_grid_in_the_files_order_times_the_replications(tmp_path: Path) -> None:
    planned = runs(tmp_path, BASE + GRID)
    assert [(*(value for _, value in run.cell), run.replication) for run in planned] == [
        (loss, congestion, replication)
        for loss in ("0%", "1%")
        for congestion in ("new_reno", "cubic")
        for replication in range(3)
    ]
    assert [run.index for run in planned] == list(range(12))
    assert len({run.key for run in planned}) == 12


def test_a_replication_has_the_same_seed_in_every_cell(tmp_path: Path) -> None:
    planned = runs(tmp_path, BASE + GRID)
    seeds = {run.replication: run.seed for run in planned}
    assert len(set(seeds.values())) == 3
    assert all(run.seed == seeds[run.replication] for run in planned)


def test_more_replications_keep_the_earlier_runs(tmp_path: Path) -> None:
    few = keys(tmp_path, BASE)
    assert keys(tmp_path, BASE, ("replications", "5"))[:3] == few


def test_seeds_are_kept_exactly_by_a_reader_that_has_only_floats() -> None:
    seeds = replication_seeds(2**63 - 1, 100)
    assert all(int(float(seed)) == seed for seed in seeds)
    assert len(set(seeds)) == 100
    assert not set(seeds) & set(replication_seeds(0, 100))


def test_the_key_is_a_hash_of_the_canonical_scenario_and_never_drifts() -> None:
    """It changes with MODEL_VERSION and DRAW_SCHEME, in the commit that changes what a run does."""
    assert canonical(TINY) == (
        '{"limits":{"events":1000,"time":"1s"},"network":{"forward":{"loss":null},"reverse":{"loss":'
        '{"model":"random","p":"10%","where":"ingress"}}},"transport":{"name":"rudp"},'
        '"workload":{"corpus":"Entwürfe","messages":1,"name":"smtp"}}'
    )
    assert run_key(TINY, "sim", 1) == "11e6a1f058bc80be59b311269d95adaeb1b96ad086acaa2b85bfd84f12fc3142"
    assert replication_seeds(1, 2) == [6614693069671057, 2323381840661001]


@pytest.mark.parametrize(
    ("good", "same"),
    [
        ("name: base", "name: other\ndescription: the same under another name"),
        ("10%", "0.1"),
        ("20ms", "0.02s"),
        ("20mbit", "{value: 20000kbit, packet_overhead: 0}"),
        ("{both: ", "{reverse: {delay: {time: 20ms}, rate: 20mbit, loss: {model: random, p: 10%}}, forward: "),
        ("replications: 3", "replications: 3\nlimits: {time: 10min}\nexecutor: serial"),
        ("transport: {name: rudp}\n", "transport: rudp\n"),
        ("1KiB", "{distribution: constant, size: 1024B}"),
        ("10%", "10%, where: ingress"),
    ],
)
def test_files_that_mean_the_same_have_the_same_keys(tmp_path: Path, good: str, same: str) -> None:
    assert good in BASE
    assert keys(tmp_path, BASE.replace(good, same)) == keys(tmp_path, BASE)


@pytest.mark.parametrize(
    ("good", "other"),
    [
        ("seed: 7", "seed: 8"),
        ("10%", "10.000000000000001%"),
        ("20ms", "20000001ns"),
        ("10%", "10%, where: egress"),
        ("{name: rudp}", "{name: rudp, congestion: unlimited}"),
        ("messages: 2", "messages: 3"),
        ("replications: 3", "replications: 3\nlimits: {events: 1000}"),
    ],
)
def test_files_that_mean_something_else_share_no_key(tmp_path: Path, good: str, other: str) -> None:
    assert not set(keys(tmp_path, BASE.replace(good, other))) & set(keys(tmp_path, BASE))


def test_a_cell_is_the_same_run_as_a_file_with_its_values_written_in(tmp_path: Path) -> None:
    grid = runs(tmp_path, BASE + GRID)
    alone = keys(tmp_path, BASE, ("network.both.loss.p", "1%"), ("transport.congestion", "cubic"))
    assert [run.key for run in grid[-3:]] == alone


def test_a_changed_corpus_is_run_again_and_a_moved_one_is_not(tmp_path: Path) -> None:
    text = BASE.replace("messages: 2", "corpus: post")
    for place in ("here", "there"):
        (tmp_path / place / "post").mkdir(parents=True)
        (tmp_path / place / "post" / "one").write_bytes(b"Subject: x\n\nhello\n")
    before = keys(tmp_path / "here", text)
    assert keys(tmp_path / "there", text.replace("corpus: post", "corpus: ../there/./post")) == before
    (tmp_path / "there" / "post" / "one").write_bytes(b"Subject: x\n\nhullo\n")
    changed = keys(tmp_path / "there", text)
    (tmp_path / "there" / "post" / "one").rename(tmp_path / "there" / "post" / "two")
    assert len({*before, *changed, *keys(tmp_path / "there", text)}) == 9


def test_parameters_are_every_value_in_a_column_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "post").mkdir()
    (tmp_path / "post" / "one").write_bytes(b"Subject: x\n\nhello\n")
    listed = ("network.forward.loss", "{model: list, packets: [2, 3]}")
    run = runs(tmp_path, BASE.replace("messages: 2", "corpus: post"), listed)[0]
    parameters = run.parameters()
    assert list(parameters) == sorted(parameters)
    assert parameters["network.forward.loss.model"] == "list"
    assert parameters["network.forward.loss.packets"] == "2 3"
    assert parameters["network.reverse.loss.p"] == "10%"
    assert parameters["network.forward.delay.time"] == "20ms"
    assert parameters["network.forward.delay.keep_order"] == "false"
    assert parameters["workload.corpus"] == "post"
    assert parameters["limits.events"] == 50_000_000
    assert not any(name.startswith("network.forward.corrupt") for name in parameters)
    assert not any(str(tmp_path) in str(value) for value in parameters.values())


def test_a_run_survives_the_way_to_a_worker(tmp_path: Path) -> None:
    run = runs(tmp_path, BASE + GRID)[-1]
    assert pickle.loads(pickle.dumps(run)) == run


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_scenario_says_what_it_is_for_and_plans(path: Path) -> None:
    scenario = load_scenario(path)
    assert path.read_text(encoding="utf-8").startswith("description: ")
    assert len(scenario.description.split()) >= 8
    assert scenario.name == path.stem
    planned = plan(scenario)
    assert len(planned) == len(scenario.cells) * scenario.replications
    assert scenario.replications >= 30
    assert all(json.loads(run.document) for run in planned)


OWN_PATHS = {"satellite", "longrtt", "blackhole", "rebind", "addresschange", "wifi", "lte", "bufferbloat"}


def test_the_everyday_path_is_the_same_in_every_scenario_but_those_that_are_about_another() -> None:
    links = {}
    for path in CONFIGS:
        forward = load_scenario(path).cells[0].configuration.forward
        links[path.stem] = (forward.delay.time, forward.rate, forward.queue)
    assert {name for name, link in links.items() if link != links["lossless"]} == OWN_PATHS
