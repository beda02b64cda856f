"""Every shipped scenario on real packets: mail is delivered whole and once, as it is in simulation (test_build).

Short of mail and of time, so that each takes seconds: two messages, and what happens to the path happens sooner.
"""

from pathlib import Path

import pytest

from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.trace import ListSink, MigrationStateUpdated
from tests.live import live

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
FEW = [("replications", "1"), ("limits.time", "60s"), ("workload.messages", "2")]
CHANGED = {
    "bufferbloat": [("rival", "null")],  # a live run moves one pair of hosts
    "blackhole": [("network.events", "[{at: 300ms, for: 200ms, every: 700ms, blackhole: true}]")],
    "rebind": [("network.events", "[{at: 100ms, every: 300ms, rebind: true}]")],
    "addresschange": [("network.events", "[{at: 100ms, every: 300ms, address_change: true}]")],
}
DRIVERS = ["udp", pytest.param("netns", marks=live)]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_scenario_delivers_each_message_over_a_live_path(path: Path, driver: str) -> None:
    settings = [*FEW, ("driver", driver), *CHANGED.get(path.stem, [])]
    (run,) = plan(load_scenario(path, settings))
    sink = ListSink()
    facts = execute(run, sink)
    assert facts.stop == "done"
    deliveries = [(delivery.status, delivery.is_intact, delivery.copies) for delivery in facts.report.deliveries]
    assert deliveries == [("delivered", True, 1)] * 2
    assert (facts.forward.stats.packets_blackholed > 0) == (path.stem == "blackhole")
    assert any(isinstance(fact, MigrationStateUpdated) for fact in sink.facts) == (
        path.stem in ("rebind", "addresschange")
    )
