"""What a path does besides losing at random: marks instead of drops, and datagrams too large for it."""

from pathlib import Path

from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.transport import TransportStats

SCENARIO = Path(__file__).parent.parent.parent / "experiments" / "path" / "bulk.yaml"


def sender_of(**settings: str) -> TransportStats:
    """Bulk over the reference path; what its sender counted, having delivered everything."""
    overrides = {"vary": "{}", "replications": "1", "workload.size": "4MB", "transport.congestion": "new_reno"}
    overrides |= {key.replace("__", "."): value for key, value in settings.items()}
    (run,) = plan(load_scenario(SCENARIO, list(overrides.items())))
    facts = execute(run)
    assert facts.stop == "done"
    return facts.report.client


def test_a_queue_that_marks_keeps_a_marking_sender_from_losing_anything() -> None:
    queue = "{discipline: droptail, limit: 300kB, mark: 50kB}"
    marked = sender_of(network__both__queue=queue, transport__ecn="true")
    unmarked = sender_of(network__both__queue=queue, transport__ecn="false")
    assert marked.ecn_marked > 0
    assert marked.packets_lost == 0
    assert unmarked.ecn_marked == 0
    assert unmarked.packets_lost > 0


def test_a_path_narrower_than_ethernet_is_found_out_and_used_whole() -> None:
    stats = sender_of(network__both__mtu="1400B", transport__mtu_discovery="true")
    assert 1400 - 28 - 19 <= stats.datagram_size <= 1400 - 28
    assert stats.black_holes == 0


def test_without_discovery_a_path_of_the_size_given_is_used_at_once() -> None:
    stats = sender_of(
        network__both__mtu="1400B", transport__max_datagram_size="1372B", transport__mtu_discovery="false"
    )
    assert (stats.datagram_size, stats.mtu_probes_sent) == (1372, 0)


def test_one_percent_of_loss_does_not_make_discovery_slower_than_none() -> None:
    loss = {"network__both__loss__p": "1%"}
    found, known = (sender_of(transport__mtu_discovery=choice, **loss) for choice in ("true", "false"))
    assert found.datagram_size == known.datagram_size == 1472
    assert found.packets_sent < known.packets_sent * 1.05
