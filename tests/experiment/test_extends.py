"""`extends`: a scenario on top of another."""

from pathlib import Path

import pytest

from rudp_smtp.registry import Spec
from tests.experiment.test_scenario import BASE, load, refusal, the_refusal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE + "vary: {workload.messages: [1, 2]}\n")
    return tmp_path


def document(folder: Path, text: str) -> dict[str, object]:
    return load(folder, text).document()


def test_what_is_not_said_is_the_bases(folder: Path) -> None:
    mine = document(folder, "extends: base.yaml\nname: mine\n")
    assert mine == {**document(folder, BASE + "vary: {workload.messages: [1, 2]}\n"), "name": "mine"}


def test_mappings_are_merged_however_deep_and_a_direction_lies_over_both(folder: Path) -> None:
    text = "extends: base.yaml\nname: mine\nnetwork: {forward: {loss: {p: 3%}, delay: {jitter: 1ms}}}\nvary: null\n"
    meant = (
        BASE.replace("name: base", "name: mine")
        .replace("both:", "reverse:")
        .replace(
            "transport:",
            "  forward: {delay: {time: 20ms, jitter: 1ms}, rate: 20mbit, loss: {model: random, p: 3%}}\ntransport:",
        )
    )
    assert document(folder, text) == document(folder, meant)


def test_another_plugin_takes_the_place_of_the_bases_with_its_parameters(folder: Path) -> None:
    text = "extends: base.yaml\nname: mine\nnetwork: {both: {loss: {model: every_nth, n: 9}}}\n"
    assert load(folder, text).cells[0].configuration.reverse.loss == Spec("every_nth", (("n", 9),))


def test_lists_and_nulls_take_the_place_of_the_bases(folder: Path) -> None:
    text = "extends: base.yaml\nname: mine\nnetwork: {both: {loss: null}}\nvary: {workload.messages: [5]}\n"
    (cell,) = load(folder, text).cells
    assert cell.configuration.forward.loss is None
    assert cell.parameters == (("workload.messages", "5"),)


def test_a_base_may_have_a_base_in_another_folder(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "middle.yaml").write_text("extends: ../base.yaml\nname: middle\nseed: 9\n")
    scenario = load(folder, "extends: deep/middle.yaml\nname: mine\nreplications: 3\n")
    assert (scenario.name, scenario.seed, scenario.replications) == ("mine", 9, 3)


def test_paths_of_the_base_are_seen_from_its_own_folder(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "fates.txt").write_text("0 1")
    (folder / "deep" / "middle.yaml").write_text(
        BASE.replace("{model: random, p: 10%}", "{model: trace, fates: fates.txt}")
    )
    loss = load(folder, "extends: deep/middle.yaml\nname: mine\n").cells[0].configuration.forward.loss
    assert loss == Spec("trace", (("fates", (0, 1)),))


def test_a_name_is_not_inherited(folder: Path) -> None:
    assert the_refusal(folder, "extends: base.yaml\n") == "x.yaml:1: needs the key 'name'"


def test_a_mistake_in_the_base_is_told_where_it_stands(folder: Path) -> None:
    (folder / "base.yaml").write_text(BASE.replace("20ms", "20"))
    line = the_refusal(folder, "extends: base.yaml\nname: mine\n")
    assert line.startswith("base.yaml:7: network.both.delay.time: 20 has no unit")


def test_a_mistake_on_top_is_told_where_it_stands(folder: Path) -> None:
    line = the_refusal(folder, "extends: base.yaml\nname: mine\nnetwork:\n  both:\n    delay: {tiem: 1ms}\n")
    assert line.startswith("x.yaml:5: network.both.delay.tiem: unknown key 'tiem'; did you mean 'time'?")


def test_a_cycle_is_refused(folder: Path) -> None:
    (folder / "base.yaml").write_text("extends: x.yaml\nname: base\n")
    line = the_refusal(folder, "extends: base.yaml\nname: mine\n")
    assert line == (
        "base.yaml:1: extends: leads back to itself: x.yaml -> base.yaml -> x.yaml; expected a base that does not"
    )
    assert "x.yaml -> x.yaml" in the_refusal(folder, "extends: x.yaml\nname: mine\n")


@pytest.mark.parametrize(
    ("base", "words"),
    [("[a]", "got a list"), ("''", "expected the name of another scenario's file"), ("none.yaml", "cannot be read")],
)
def test_a_base_that_is_none_is_refused(folder: Path, base: str, words: str) -> None:
    (line,) = refusal(folder, f"extends: {base}\nname: mine\n")
    assert line.startswith("x.yaml:1: extends: ")
    assert words in line
