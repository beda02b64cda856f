"""Two hosts, two links and virtual time: a workload from its first packet to its report."""

from dataclasses import dataclass

from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.sim import SimulationResult, Simulator
from rudp_smtp.link.config import DelayConfig, LinkConfig, RateConfig
from rudp_smtp.link.link import Link
from rudp_smtp.registry import Spec
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TRANSPORTS, Address, Endpoint
from rudp_smtp.units import MILLISECOND, SECOND
from rudp_smtp.workload import Delivery, Stage, Workload, WorkloadReport

DELAY = DelayConfig(time=20 * MILLISECOND)
LOSSLESS = LinkConfig(delay=DELAY)
REFERENCE = LinkConfig(delay=DELAY, rate=RateConfig(value=20_000_000))  # TRANSPORT.md section 2, no queue limit
BUDGET = 1_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    report: WorkloadReport
    result: SimulationResult

    @property
    def rows(self) -> list[Delivery]:
        return self.report.deliveries


def endpoints(draws: DrawKey, transport: Spec | None = None, sink: Sink | None = None) -> tuple[Endpoint, Endpoint]:
    plugin = TRANSPORTS.build(transport or Spec("rudp"))
    client, server = (
        plugin.endpoint(host=host, accepts=host == "server", draws=draws.derive("transport", host), sink=sink)
        for host in ("client", "server")
    )
    return client, server


def simulate(stage: Stage, forward: LinkConfig, reverse: LinkConfig, draws: DrawKey, *, until: int) -> SimulationResult:
    links: dict[tuple[Address, Address], Link] = {
        ("client", "server"): Link(forward, name="forward", draws=draws.derive("link")),
        ("server", "client"): Link(reverse, name="reverse", draws=draws.derive("link")),
    }
    return Simulator({"client": stage.client, "server": stage.server}, links).run(until, BUDGET)


def play(
    workload: Workload,
    forward: LinkConfig = LOSSLESS,
    reverse: LinkConfig | None = None,
    *,
    seed: int = 1,
    until: int = 300 * SECOND,
    transport: Spec | None = None,
    sink: Sink | None = None,
) -> Outcome:
    draws = DrawKey(seed)
    client, server = endpoints(draws, transport, sink)
    stage = workload.stage(client, server, draws.derive("workload"))
    result = simulate(stage, forward, reverse or forward, draws, until=until)
    return Outcome(workload.report(stage), result)
