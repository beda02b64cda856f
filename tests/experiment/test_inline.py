"""Files of numbers named by a scenario."""

from pathlib import Path

import pytest

from rudp_smtp.experiment.plan import plan
from rudp_smtp.registry import Spec
from tests.experiment.test_scenario import BASE, load, the_refusal

TRACE = BASE.replace("{model: random, p: 10%}", "{model: trace, fates: fates.txt}")


def test_a_file_of_fates_means_the_same_as_the_list(tmp_path: Path) -> None:
    (tmp_path / "fates.txt").write_text("0 1 0  # the second of three\n0 1\n")
    (cell,) = load(tmp_path, TRACE).cells
    assert cell.configuration.forward.loss == Spec("trace", (("fates", (0, 1, 0, 0, 1)),))
    (same,) = load(tmp_path, BASE.replace("{model: random, p: 10%}", "{model: trace, fates: [0, 1, 0, 0, 1]}")).cells
    assert same == cell


def test_a_delay_table_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.dist").write_text("-8192 0 8192\n")
    text = BASE.replace("{time: 20ms}", "{time: 20ms, jitter: 1ms, distribution: {model: table, values: mine.dist}}")
    (cell,) = load(tmp_path, text).cells
    assert cell.configuration.reverse.delay.distribution == Spec("table", (("values", (-8192, 0, 8192)),))


def test_a_row_tells_a_long_list_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / "fates.txt").write_text("0 " * 3000 + "1")
    told = plan(load(tmp_path, TRACE))[0].parameters()["network.forward.loss.fates"]
    assert str(told).startswith("3001 values, sha256 ")


def test_other_numbers_in_the_file_are_another_run(tmp_path: Path) -> None:
    keys = set()
    for fates in ("0 1", "1 0"):
        (tmp_path / "fates.txt").write_text(fates)
        keys.add(plan(load(tmp_path, TRACE))[0].key)
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("0 1\n1 x\n", "'fates.txt', line 2: 'x' is not a whole number; expected nothing else"),
        ("0 3\n", "3 is no fate; expected 0 (arrives) or 1 (lost)"),
        ("", "an empty trace tells no fate; expected at least one 0 or 1"),
        ("\xff", "'fates.txt' is not a file of numbers; expected whole numbers"),
        (None, "'fates.txt' cannot be read: No such file or directory"),
    ],
)
def test_a_bad_file_is_told_where_it_is_named(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "fates.txt").write_text(content)
    line = the_refusal(tmp_path, TRACE)
    assert line.startswith("x.yaml:9: network.both.loss.fates")
    assert words in line
