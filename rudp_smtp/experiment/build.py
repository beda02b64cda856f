"""Run -> nodes, links, driver: the one place where layers are put together.

A rival's hosts are called "rival-client" and "rival-server", or "rival-0-client" and so on where there are several;
whatever host a datagram comes from, it is the last word of the name that tells its direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from rudp_smtp.datagram import Label
from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.capture import Tap, Watcher
from rudp_smtp.drivers.headers import SimulatedHosts
from rudp_smtp.drivers.pump import Node
from rudp_smtp.drivers.sim import SimulationResult, Simulator
from rudp_smtp.errors import ConfigError, DriverError
from rudp_smtp.experiment.events import Timetable, arrange
from rudp_smtp.experiment.inspection import Flows, read_datagrams, read_packets, readers_between
from rudp_smtp.experiment.plan import Run
from rudp_smtp.experiment.scenario import Rival
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.link.link import Link
from rudp_smtp.link.stats import LinkStats
from rudp_smtp.registry import Spec
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TRANSPORTS, Address
from rudp_smtp.transport.peers.tcp import Tcp
from rudp_smtp.transport.peers.tcp_adapter import TcpEndpoint
from rudp_smtp.workload import SERVER, WORKLOADS, WorkloadReport

CLIENT = "client"  # host names: addresses in simulation, and what facts call them


@dataclass(slots=True)
class LinkFacts:
    """One direction after a run: what was asked and what happened."""

    expected_loss: Fraction  # the loss model's own, for this many packets
    packets_judged: int  # how many the loss model decided about: what the achieved loss is a share of
    stats: LinkStats
    busy_until: int | None  # when the transmitter was through with its last packet; None without a rate
    periods: tuple[tuple[LinkConfig, LinkStats], ...]  # each configuration it had, and what was counted under it


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
    rivals: Sequence[WorkloadReport] = field(default=())
    invalid: str = ""  # a live run's: what the machine did that nobody asked for


class _Pair:
    """Two hosts, what they do, and what they are called; all they draw is keyed by their names."""

    def __init__(
        self, transport: Spec, workload: Spec, draws: DrawKey, sink: Sink | None, *, prefix: str = "", start: int = 0
    ) -> None:
        plugin = TRANSPORTS.build(transport)
        self.client, self.server = prefix + CLIENT, prefix + SERVER
        self.endpoints = client, server = tuple(
            plugin.endpoint(host=host, accepts=host == self.server, draws=draws.derive("transport", host), sink=sink)
            for host in (self.client, self.server)
        )
        own = draws.derive("workload", prefix) if prefix else draws.derive("workload")
        self._workload = WORKLOADS.build(workload)
        self.stage = self._workload.stage(client, server, own, self.server, start)

    def report(self) -> WorkloadReport:
        return self._workload.report(self.stage)


@dataclass(frozen=True, slots=True)
class _Moved:
    """How the nodes were moved, and what over."""

    result: SimulationResult
    forward: Link
    reverse: Link
    invalid: str = ""


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who looks on: at what the hosts send and receive, and at what crosses the ends of a live path's links."""

    watcher: Watcher | None = None
    tap: Tap | None = None

    def seen(self, address: Address, node: Node) -> Node:
        """The node to use instead of `node`."""
        return node if self.watcher is None else self.watcher.watch(address, node)


def execute(run: Run, sink: Sink | None = None, watcher: Watcher | None = None, *, tap: Tap | None = None) -> RunFacts:
    """Do one run. A run that cannot finish ends by its limits, and `stop` names which; nothing is caught."""
    configuration = run.configuration
    draws = DrawKey(run.seed)
    pairs = [_Pair(configuration.transport, configuration.workload, draws, sink)]
    if configuration.rival is not None:
        pairs += _rivals(configuration.rival, draws, sink)
    moved = _DRIVERS[run.driver](run, pairs, sink, Watchers(watcher, tap))
    report, *rivals = (pair.report() for pair in pairs)
    return RunFacts(
        run=run,
        stop=moved.result.stop,
        end=moved.result.now,
        events=moved.result.events,
        packets=moved.result.packets,
        report=report,
        forward=link_facts(moved.forward),
        reverse=link_facts(moved.reverse),
        rivals=rivals,
        invalid=moved.invalid,
    )


def _simulate(run: Run, pairs: Sequence[_Pair], sink: Sink | None, seen: Watchers) -> _Moved:
    configuration = run.configuration
    draws = DrawKey(run.seed).derive("link")
    hosts = SimulatedHosts(name for pair in pairs for name in (pair.client, pair.server))
    reader = read_datagrams(hosts, Flows())
    forward = Link(configuration.forward, name="forward", draws=draws, sink=sink, reader=reader)
    reverse = Link(configuration.reverse, name="reverse", draws=draws, sink=sink, reader=reader)
    nodes: dict[Address, Node] = {}
    links: dict[tuple[Address, Address], Link] = {}
    for pair in pairs:
        nodes |= {pair.client: pair.stage.client, pair.server: pair.stage.server}
        links |= {(pair.client, pair.server): forward, (pair.server, pair.client): reverse}
    assert seen.tap is None, "what a simulated host sends is on its link at once: its watcher has seen it"
    nodes = {address: seen.seen(address, node) for address, node in nodes.items()}
    simulator = Simulator(nodes, links, background=[host for host in nodes if host not in (CLIENT, SERVER)])
    if configuration.events:
        timetable = Timetable(
            configuration.events, {"forward": forward, "reverse": reverse}, lambda now: simulator.rebind(CLIENT)
        )
        simulator.schedule(timetable.moments())
    result = simulator.run(configuration.limits.time, configuration.limits.events)
    return _Moved(result, forward, reverse)


def _run_live(run: Run, pairs: Sequence[_Pair], sink: Sink | None, seen: Watchers) -> _Moved:
    from rudp_smtp.drivers.proxy import Path  # a simulation does without sockets
    from rudp_smtp.drivers.udp import UdpRun

    configuration = run.configuration
    (pair,) = pairs
    readers = readers_between(*SimulatedHosts([pair.client, pair.server])(Label(pair.client, pair.server)))
    path = Path(forward=configuration.forward, reverse=configuration.reverse, seed=run.seed, readers=readers)
    client = pair.client, seen.seen(pair.client, pair.stage.client)
    server = pair.server, seen.seen(pair.server, pair.stage.server)
    live = UdpRun(client, server, path, sink, seen.tap)
    arrange(configuration.events, live.path)
    moved = live.run(configuration.limits.time, configuration.limits.events)
    return _Moved(moved.result, moved.forward, moved.reverse, moved.invalid)


def _run_in_namespaces(run: Run, pairs: Sequence[_Pair], sink: Sink | None, seen: Watchers) -> _Moved:
    from rudp_smtp.drivers.hosts import MTU, two_hosts
    from rudp_smtp.drivers.netns import MTU_MAX, NetnsRun, Party
    from rudp_smtp.drivers.proxy import Path

    configuration = run.configuration
    (pair,) = pairs
    reader = read_packets(Flows())
    path = Path(forward=configuration.forward, reverse=configuration.reverse, seed=run.seed, readers=(reader, reader))
    users = [endpoint if isinstance(endpoint, TcpEndpoint) else None for endpoint in pair.endpoints]
    with two_hosts(MTU if any(users) else MTU_MAX) as hosts:
        client = Party(hosts[0], pair.client, seen.seen(pair.client, pair.stage.client), users[0])
        server = Party(hosts[1], pair.server, seen.seen(pair.server, pair.stage.server), users[1])
        live = NetnsRun(client, server, path, sink, seen.tap)
        arrange(configuration.events, live.path)
        moved = live.run(configuration.limits.time, configuration.limits.events)
    return _Moved(moved.result, moved.forward, moved.reverse, moved.invalid)


_DRIVERS = {"sim": _simulate, "udp": _run_live, "netns": _run_in_namespaces}


def clear_machine(runs: Sequence[Run]) -> None:
    """Remove what runs that were abandoned have left on this machine; nothing of those that still go on."""
    if any(run.driver == "netns" for run in runs):
        from rudp_smtp.drivers.hosts import remove_leftovers

        remove_leftovers()


def require_machine(runs: Sequence[Run]) -> None:
    """Raise ConfigError where this machine cannot do these runs at all."""
    if not any(run.driver == "netns" for run in runs):
        return
    from rudp_smtp.drivers.hosts import require_root
    from rudp_smtp.drivers.streams import require_congestion

    try:
        require_root()
    except DriverError as error:
        raise ConfigError(str(error), key="driver") from error
    for spec in dict.fromkeys(run.configuration.transport for run in runs):
        plugin = TRANSPORTS.build(spec)
        if isinstance(plugin, Tcp):
            try:
                require_congestion(plugin.congestion)
            except DriverError as error:
                raise ConfigError(str(error), key="transport.congestion") from error


def _rivals(rival: Rival, draws: DrawKey, sink: Sink | None) -> list[_Pair]:
    prefixes = ["rival-"] if rival.count == 1 else [f"rival-{number}-" for number in range(rival.count)]
    return [
        _Pair(rival.transport, rival.workload, draws, sink, prefix=prefix, start=rival.start) for prefix in prefixes
    ]


def link_facts(link: Link) -> LinkFacts:
    """What a link leaves behind."""
    return LinkFacts(
        expected_loss=link.expected_loss(),
        packets_judged=link.packets_judged,
        stats=link.stats,
        busy_until=link.busy_until,
        periods=link.periods(),
    )
