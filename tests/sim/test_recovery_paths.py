"""Whole connections on paths that tempt a sender to see losses where there are none, or to wait where there are."""

from pathlib import Path

import pytest

from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.records import record
from rudp_smtp.experiment.scenario import load_scenario

ROOT = Path(__file__).parents[2]
PATH = ROOT / "experiments" / "path"


def metric(scenario: Path, name: str, *, replications: str = "1", **settings: str) -> list[float]:
    """A metric of each run of a scenario without its grid; in keys a double underscore is a dot."""
    overrides = [(key.replace("__", "."), value) for key, value in settings.items()]
    if "experiments" in scenario.parts:
        overrides.insert(0, ("vary", "{}"))
    runs = plan(load_scenario(scenario, [*overrides, ("replications", replications)]))
    values = []
    for run in runs:
        value = record(execute(run)).metrics[name]
        assert isinstance(value, int | float)
        values.append(float(value))
    return values


def reordered(name: str, **settings: str) -> float:
    """A metric of 6 MB over 20 Mbit/s where 2 % of the packets are late by 5 ms."""
    (value,) = metric(PATH / "bulk_reordered.yaml", name, workload__size="6MB", **settings)
    return value


@pytest.mark.parametrize("congestion", ["new_reno", "cubic"])
@pytest.mark.parametrize("loss_detection", ["rack", "packet_threshold"])
def test_reductions_for_packets_that_were_only_overtaken_are_taken_back(loss_detection: str, congestion: str) -> None:
    """Without that, a threshold of three packets falls to a few Mbit/s; 19.2 is all that the link carries."""
    plugins = {"transport__congestion": congestion, "transport__loss_detection": loss_detection}
    goodput = reordered("goodput_bps", transport__ack="every_n", **plugins)
    assert goodput > 17_500_000  # slow start of a short transfer included


def test_rack_learns_not_to_repeat_what_is_only_late() -> None:
    """RFC 8985 section 6.2: after the first packets that arrived late the window is wider than 5 ms."""
    assert reordered("spurious_count", transport__loss_detection="rack") <= 5
    assert reordered("spurious_count", transport__loss_detection="packet_threshold") >= 50


def test_a_dialogue_on_a_path_that_varies_by_an_eighth_is_hardly_ever_probed_in_vain() -> None:
    """A packet in a thousand, and those while nothing is known of the path yet."""
    probes = metric(
        PATH / "dialogue.yaml",
        "probes_count",
        replications="40",
        transport__timer="pto_eager",
        network__both__delay__jitter="5ms",
    )
    assert sum(probes) <= 0.001 * 40 * 44


@pytest.mark.parametrize("size", ["100kB", "1MB"])
def test_a_transfer_that_fills_a_queue_of_100_ms_is_not_probed_at_its_end(size: str) -> None:
    probes = metric(
        PATH / "bulk.yaml",
        "probes_count",
        transport__timer="pto_eager",
        transport__congestion="cubic",
        network__both__queue__limit="250kB",
        workload__size=size,
    )
    assert probes == [0]


def test_a_gap_in_both_directions_costs_no_more_than_the_silence_it_takes_to_see_it() -> None:
    """Packets 2 to 7 of each direction are lost: six in a row of a dialogue, where only time-outs help."""
    (completion_ms,) = metric(ROOT / "configs" / "droplist.yaml", "completion_ms", transport__timer="pto_eager")
    (lossless_ms,) = metric(ROOT / "configs" / "lossless.yaml", "completion_ms", transport__timer="pto_eager")
    assert completion_ms < lossless_ms + 1_000
