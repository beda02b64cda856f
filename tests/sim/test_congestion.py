"""Controllers in whole transfers: what a path lets through, what they lose of it, and what they leave to others."""

from pathlib import Path

import pytest

from rudp_smtp.experiment.build import RunFacts, execute
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.experiment.shares import measure_shares

ROOT = Path(__file__).parents[2]
BULK = ROOT / "experiments" / "path" / "bulk.yaml"
PAIRS = ROOT / "experiments" / "fairness" / "pairs.yaml"


def run(scenario: Path, congestion: str, **settings: str) -> RunFacts:
    """One run of a scenario without its grid; in keys a double underscore is a dot."""
    overrides = [("vary", "{}"), ("replications", "1"), ("transport.congestion", congestion)]
    overrides += [(key.replace("__", "."), value) for key, value in settings.items()]
    (only,) = plan(load_scenario(scenario, overrides))
    return execute(only)


def goodput(facts: RunFacts) -> float:
    """Mbit/s."""
    assert facts.report.finished_at is not None, facts.stop
    return facts.report.deliveries[0].size * 8e3 / (facts.report.finished_at - facts.report.started_at)


def dropped(facts: RunFacts) -> float:
    """The share of the packets for which the queue had no room."""
    return facts.forward.stats.packets_queue_dropped / facts.forward.stats.packets_entered


@pytest.mark.parametrize(("loss", "least"), [("0%", 18.0), ("1%", 17.5), ("5%", 16.5), ("10%", 15.0)])
def test_bbr_keeps_a_path_full_that_loses_at_random(loss: str, least: float) -> None:
    """20 Mbit/s, of which 19.2 x (1 - p) are payload that arrives; 8 MB, so a start-up included."""
    facts = run(BULK, "bbr", network__both__loss__p=loss, workload__size="8MB")
    assert goodput(facts) > least
    assert dropped(facts) < 0.04


def test_bbr_does_not_collapse_when_a_tenth_is_lost_in_bursts() -> None:
    facts = run(BULK, "bbr", network__both__loss="{model: gemodel, p: 3%, r: 27%}", workload__size="8MB")
    assert goodput(facts) > 10


@pytest.mark.parametrize(("queue", "least"), [("10kB", 10), ("25kB", 16.5), ("50kB", 17.5)])
def test_bbr_alone_does_not_flood_a_shallow_queue(queue: str, least: float) -> None:
    """A tenth, a quarter and a half of the bandwidth-delay product."""
    facts = run(BULK, "bbr", network__both__queue__limit=queue, workload__size="8MB")
    assert dropped(facts) < 0.05  # STARTUP included, which is a third of such a short transfer
    assert goodput(facts) > least


def test_hystart_spares_much_of_what_slow_start_overshoots() -> None:
    """RFC 9406: packets for which a queue of one bandwidth-delay product had no room, as the default profile has them
    acknowledged. Of 188 without it, 60 are left."""
    with_it = run(BULK, "cubic", workload__size="4MB")
    without = run(BULK, "{model: cubic, hystart: false}", workload__size="4MB")
    assert with_it.forward.stats.packets_queue_dropped < 0.4 * without.forward.stats.packets_queue_dropped
    assert goodput(with_it) > 0.99 * goodput(without)


@pytest.mark.parametrize("queue", ["25kB", "100kB"])
def test_four_flows_of_bbr_neither_starve_each_other_nor_flood(queue: str) -> None:
    """Losses of one flow's making must not look random to another, nor to a latecomer."""
    facts = run(
        BULK,
        "bbr",
        network__both__queue__limit=queue,
        workload="{name: bulk, duration: 10s, flows: 4, stagger: 1s}",
    )
    shares = measure_shares(facts)
    assert shares is not None
    assert sum(shares.own) ** 2 / (4 * sum(share**2 for share in shares.own)) > 0.6
    assert dropped(facts) < 0.12  # four STARTUPs in ten seconds included; 4 to 6 % over twenty


@pytest.mark.sweep
@pytest.mark.parametrize("queue", ["100kB", "200kB"])
@pytest.mark.parametrize(("congestion", "rival"), [("bbr", "bbr"), ("bbr", "new_reno"), ("new_reno", "new_reno")])
def test_a_flow_beside_another_gets_and_leaves_its_share(congestion: str, rival: str, queue: str) -> None:
    """Jain's index of two is 0.9 where one has twice as much as the other."""
    facts = run(
        PAIRS,
        congestion,
        rival__transport__congestion=rival,
        network__both__queue__limit=queue,
        workload__duration="40s",
        rival__workload__duration="45s",
    )
    shares = measure_shares(facts)
    assert shares is not None
    everyone = shares.everyone
    assert sum(everyone) ** 2 / (2 * sum(share**2 for share in everyone)) >= 0.9
    assert dropped(facts) < 0.02
