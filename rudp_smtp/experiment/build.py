"""Run -> nodes, links, driver: the one place where layers are put together."""

from dataclasses import dataclass
from fractions import Fraction

from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.sim import Simulator
from rudp_smtp.experiment.plan import Run
from rudp_smtp.link.link import Link, LinkStats
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TRANSPORTS
from rudp_smtp.workload import WORKLOADS, WorkloadReport

CLIENT, SERVER = "client", "server"  # host names: addresses in simulation, and what facts call them


@dataclass(slots=True)
class LinkFacts:
    """One direction after a run: what was asked and what happened."""

    expected_loss: Fraction  # the loss model's own, for this many packets
    packets_judged: int  # how many the loss model decided about: what the achieved loss is a share of
    stats: LinkStats


@dataclass(slots=True)
class RunFacts:
    """All that a finished (or censored) run leaves behind; metrics are functions of this."""

    run: Run
    stop: str  # done | time_limit | event_limit | stalled (nothing left to happen, and not done)
    end: int  # virtual ns
    events: int
    packets: int
    report: WorkloadReport
    forward: LinkFacts
    reverse: LinkFacts


def execute(run: Run, sink: Sink | None = None) -> RunFacts:
    """Simulate one run. A run that cannot finish ends by its limits, and `stop` names which; nothing is caught."""
    configuration = run.configuration
    draws = DrawKey(run.seed)
    transport = TRANSPORTS.build(configuration.transport)
    workload = WORKLOADS.build(configuration.workload)
    client, server = (
        transport.endpoint(host=host, accepts=host == SERVER, draws=draws.derive("transport", host), sink=sink)
        for host in (CLIENT, SERVER)
    )
    stage = workload.stage(client, server, draws.derive("workload"))
    forward = Link(configuration.forward, name="forward", draws=draws.derive("link"), sink=sink)
    reverse = Link(configuration.reverse, name="reverse", draws=draws.derive("link"), sink=sink)
    simulator = Simulator(
        {CLIENT: stage.client, SERVER: stage.server},
        {(CLIENT, SERVER): forward, (SERVER, CLIENT): reverse},
    )
    result = simulator.run(configuration.limits.time, configuration.limits.events)
    return RunFacts(
        run=run,
        stop=result.stop,
        end=result.now,
        events=result.events,
        packets=result.packets,
        report=workload.report(stage),
        forward=_link_facts(forward),
        reverse=_link_facts(reverse),
    )


def _link_facts(link: Link) -> LinkFacts:
    return LinkFacts(expected_loss=link.expected_loss(), packets_judged=link.packets_judged, stats=link.stats)
