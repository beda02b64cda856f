"""The certification study: ours passes it in its quick form, and a link that does other than it was asked does not."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.link.link import Link
from rudp_smtp.registry import Spec
from rudp_smtp.units import Probability

FOLDER = Path(__file__).parent.parent / "experiments" / "certify"
Change = Callable[[LinkConfig], LinkConfig]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its modules lie beside each other, as a script's do."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module


def verdicts(study: Any, model: str, change: Change = lambda config: config, seed: int = 1) -> dict[str, str]:
    """What the quick form says of a link that was asked for one thing and does another."""

    def build(config: LinkConfig) -> Link:
        return Link(change(config), name="certified", draws=DrawKey(seed, "certify"))

    command = study("certify")
    lab = study("certify_lab")
    _, judged = command.certify(lab.Laboratory(is_quick=True, build=build), [model])
    return {f"{item.model}: {item.check.what}": item.verdict for item in judged}


def test_ours_agrees_in_everything_and_has_a_figure_for_each_model(study: Any) -> None:
    cases, judged = study("certify").certify(study("certify_lab").Laboratory(is_quick=True))
    assert {item.verdict for item in judged} == {"agrees"}
    assert len(judged) > 110
    for case in cases:
        figure = Figure()
        case.draw(figure)
        assert figure.axes, case.model
        assert all(axes.has_data() for axes in figure.axes), case.model


@pytest.mark.parametrize(
    "models", [["random", "corrupt"], pytest.param([], id="all", marks=pytest.mark.sweep)], ids=" ".join
)
def test_the_command_leaves_a_table_and_a_figure_for_each_model(tmp_path: Path, models: list[str]) -> None:
    command = [sys.executable, str(FOLDER / "certify.py"), "--quick", "--output", str(tmp_path)]
    chosen = [argument for model in models for argument in ("--only", model)]
    finished = subprocess.run(
        [*command, *chosen], capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "150"}
    )
    assert finished.returncode == 0, finished.stdout
    with (tmp_path / "certify-quick" / "certify.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["verdict"] for row in rows} == {"agrees"}
    assert f"{len(rows)} checks: 0 disagree, 0 of too few packets" in finished.stdout
    pictures = {path.stem for path in (tmp_path / "certify-quick").glob("*.png")}
    assert len(pictures) == len({row["model"] for row in rows}) >= 2
    assert pictures == {path.stem for path in (tmp_path / "certify-quick").glob("*.svg")}


def set_spec(spec: Spec | None, **changes: object) -> Spec:
    assert spec is not None
    return Spec(spec.name, tuple(sorted({**dict(spec.parameters), **changes}.items())))


def loss(**changes: float) -> Change:
    """A loss model whose parameters are so many times what was asked."""

    def change(config: LinkConfig) -> LinkConfig:
        assert config.loss is not None
        given = dict(config.loss.parameters)
        scaled = {name: round(given[name] * factor) for name, factor in changes.items()}  # type: ignore[operator]
        return replace(config, loss=set_spec(config.loss, **scaled))

    return change


def as_if_independent(config: LinkConfig) -> LinkConfig:
    """As many losses, without their memory."""
    share: Probability = round(0.03 / 0.28 * 2**64)
    return replace(config, loss=Spec("random", (("p", share),)))


def distributed(name: str, jitter: float = 1.0) -> Change:
    def change(config: LinkConfig) -> LinkConfig:
        delay = replace(config.delay, distribution=Spec(name), jitter=round(config.delay.jitter * jitter))
        return replace(config, delay=delay)

    return change


def later(config: LinkConfig) -> LinkConfig:
    return replace(config, delay=replace(config.delay, time=config.delay.time + 1))


def rated(**changes: int) -> Change:
    def change(config: LinkConfig) -> LinkConfig:
        if config.rate is None or config.rate.value is None:
            return config
        given = {name: getattr(config.rate, name) + more for name, more in changes.items()}
        return replace(config, rate=replace(config.rate, **given))

    return change


def retraced(config: LinkConfig) -> LinkConfig:
    if config.rate is None or config.rate.trace is None:
        return config
    return replace(config, rate=replace(config.rate, trace=(*config.rate.trace[:-1], config.rate.trace[-1] + 1)))


def reordered(**changes: int) -> Change:
    def change(config: LinkConfig) -> LinkConfig:
        assert config.reorder is not None
        return replace(config, reorder=replace(config.reorder, **changes))  # type: ignore[arg-type]

    return change


def one_early(config: LinkConfig) -> LinkConfig:
    return replace(config, loss=Spec("every_nth", (("n", 7), ("offset", 2))))


def more_often(config: LinkConfig) -> LinkConfig:
    """A fifth more duplicates, corruption and reordering."""
    corrupt, reorder = config.corrupt, config.reorder
    return replace(
        config,
        duplicate=min(config.duplicate * 6 // 5, 1 << 64),
        corrupt=corrupt and replace(corrupt, probability=corrupt.probability * 6 // 5),
        reorder=reorder and replace(reorder, probability=reorder.probability * 6 // 5),
    )


def one_bit(config: LinkConfig) -> LinkConfig:
    assert config.corrupt is not None
    return replace(config, corrupt=replace(config.corrupt, bits=1))


def slotted(**changes: int) -> Change:
    def change(config: LinkConfig) -> LinkConfig:
        assert config.slot is not None
        return replace(config, slot=replace(config.slot, **changes))  # type: ignore[arg-type]

    return change


def roomier(config: LinkConfig) -> LinkConfig:
    more = {name: value + 1 for name, value in dict(config.queue.parameters).items() if isinstance(value, int)}
    return replace(config, queue=set_spec(config.queue, **more), mtu=config.mtu and config.mtu + 1)


def queued(**changes: object) -> Change:
    """A queue with other parameters than it was asked for; factors where they are floats."""

    def change(config: LinkConfig) -> LinkConfig:
        given = dict(config.queue.parameters)
        changed = {
            name: round(value * given[name]) if isinstance(value, float) else value  # type: ignore[operator]
            for name, value in changes.items()
        }
        return replace(config, queue=set_spec(config.queue, **changed))

    return change


def one_queue_for_all(config: LinkConfig) -> LinkConfig:
    return replace(config, queue=Spec("droptail", (("packets", dict(config.queue.parameters)["packets"]),)))


def copies_share_their_fate(config: LinkConfig) -> LinkConfig:
    """What netem does: a packet that is lost takes its copy with it."""
    return replace(config, where="ingress")


@pytest.mark.parametrize(
    ("model", "change", "found_by"),
    [
        ("random", loss(p=1.2), "loss"),
        ("gemodel", loss(p=1.5), "loss"),
        ("gemodel", loss(p=2, r=2), "bursts are geometric(r)"),
        ("gemodel", as_if_independent, "autocorrelation at 1"),
        ("state", loss(p23=2), "gaps as the chain has them"),
        ("state", loss(p31=1.4, p13=1.4), "bursts as the chain has them"),
        ("exact", one_early, "every_nth, ingress"),
        ("delay", distributed("uniform", 3**0.5), "delay normal: Kolmogorov-Smirnov"),
        ("delay", distributed("normal", 1 / 3**0.5), "delay uniform: Kolmogorov-Smirnov"),
        ("delay", distributed("pareto"), "delay paretonormal: Kolmogorov-Smirnov"),
        ("delay", distributed("paretonormal", 0.82), "delay paretonormal: values not in the table"),
        ("order", later, "constant delay"),
        ("order", lambda config: replace(config, delay=replace(config.delay, keep_order=False)), "kept order"),
        ("slot", slotted(max_delay=4_800_000), "gaps: Kolmogorov-Smirnov"),
        ("slot", slotted(packets=9), "packets in a slot"),
        ("rate", rated(value=1), "20 Mbit/s"),
        ("rate", rated(packet_overhead=1), "14 octets more"),
        ("rate", rated(cell_size=1), "50 octets over ATM are 106"),
        ("rate", retraced, "opportunities of 1504 octets"),
        ("limits", roomier, "droptail, 10 packets"),
        ("limits", roomier, "mtu of 1300"),
        ("limits", roomier, "pie, 10 packets"),
        ("red", queued(probability=1.6), "dropped between"),
        ("red", queued(weight_shift=3), "none dropped below min"),
        ("red", queued(max=1.2), "all dropped above max, ecn False"),
        ("pie", queued(target=0.5), "pie: dropped"),
        ("pie", queued(update=5_000_000), "none dropped that may not be"),
        ("fq_codel", queued(packets=101), "limit of 100 over 300+10+5"),
        ("fq_codel", queued(quantum=9000), "no flow is ahead of another"),
        ("fq_codel", one_queue_for_all, "a sparse flow waits for the packet on the line only"),
        ("reorder", more_often, "reorder, hold: held back"),
        ("reorder", reordered(hold=4_500_000), "density (RFC 5236)"),
        ("reorder", reordered(gap=3), "displaced inside a gap"),
        ("duplicate", more_often, "duplicated"),
        ("duplicate", copies_share_their_fate, "0, 1, 2 arrive of two at 30 % loss"),
        ("corrupt", more_often, "corrupted"),
        ("corrupt", one_bit, "other than three bits flipped"),
    ],
)  # fmt: skip
def test_a_link_that_does_other_than_it_was_asked_is_found_out(
    study: Any, model: str, change: Change, found_by: str
) -> None:
    found = verdicts(study, model, change)
    wrong = [what for what, verdict in found.items() if verdict == "disagrees"]
    assert any(what.endswith(found_by) for what in wrong), wrong


@pytest.mark.parametrize("model", ["random", "gemodel", "delay", "reorder", "corrupt", "slot", "red", "pie"])
def test_ours_agrees_under_other_seeds(study: Any, model: str) -> None:
    for seed in (2, 3):
        assert "disagrees" not in verdicts(study, model, seed=seed).values()


def test_p_values_are_those_of_the_tables(study: Any) -> None:
    inference = study("certify_inference")
    assert inference.chi_square_share(3.841, 1) == pytest.approx(0.05, abs=1e-4)
    assert inference.chi_square_share(29.588, 10) == pytest.approx(0.001, abs=1e-5)
    assert inference.chi_square_share(1000, 1000) == pytest.approx(0.4941, abs=1e-3)
    assert inference.student(2.262, 9) == pytest.approx(0.05, abs=1e-4)
    assert inference.normal(2.5758) == pytest.approx(0.01, abs=1e-5)
    assert inference.binomial(3, 10, Fraction(1, 2)) == pytest.approx(2 * 176 / 1024)
    assert inference.binomial(0, 10, Fraction(1, 2)) == pytest.approx(2 / 1024)
    assert inference.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
