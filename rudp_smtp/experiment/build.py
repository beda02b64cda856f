"""Run -> nodes, links, driver: the one place where layers are put together.

A rival's hosts are called "rival-client" and "rival-server", or "rival-0-client" and so on where there are several;
whatever host a datagram comes from, it is the last word of the name that tells its direction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from heapq import merge
from operator import itemgetter
from types import MappingProxyType

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
from rudp_smtp.link.fates import Fates
from rudp_smtp.link.link import Link
from rudp_smtp.link.stats import LinkStats
from rudp_smtp.registry import Spec
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TRANSPORTS, Address, Endpoint
from rudp_smtp.transport.peers.tcp import Tcp
from rudp_smtp.transport.peers.tcp_adapter import TcpEndpoint
from rudp_smtp.workload import SERVER, WORKLOADS, Application, WorkloadReport

NO_FATES: Mapping[str, Fates] = MappingProxyType({})
HOP = "hop-"  # in the names of hosts behind the first two, and of their links
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
    further: Sequence[tuple[str, LinkFacts]] = field(default=())  # of each hop behind the first: "hop-2-forward" ...


@dataclass(frozen=True, slots=True)
class _Hop:
    """Two hosts behind a pair's first two: the client is on the machine of the server before."""

    prefix: str
    client: Application
    server: Application


class _Pair:
    """Two hosts, what they do, and what they are called; all they draw is keyed by their names."""

    def __init__(
        self, transport: Spec, workload: Spec, draws: DrawKey, sink: Sink | None, *, prefix: str = "", start: int = 0
    ) -> None:
        plugin = TRANSPORTS.build(transport)

        def endpoint(host: str) -> Endpoint:
            accepts = host.endswith(SERVER)
            return plugin.endpoint(host=host, accepts=accepts, draws=draws.derive("transport", host), sink=sink)

        self.client, self.server = prefix + CLIENT, prefix + SERVER
        self.endpoints = client, server = endpoint(self.client), endpoint(self.server)
        own = draws.derive("workload", prefix) if prefix else draws.derive("workload")
        self._workload = WORKLOADS.build(workload)
        self.stage = self._workload.stage(client, server, own, self.server, start)
        prefixes = [f"{prefix}{HOP}{number}-" for number in range(2, self._workload.hops + 1)]
        for name in prefixes:
            self._workload.extend(self.stage, endpoint(name + CLIENT), endpoint(name + SERVER), name + SERVER)
        self.hops = [_Hop(name, *hosts) for name, hosts in zip(prefixes, self.stage.further, strict=True)]

    @property
    def hosts(self) -> list[str]:
        """The names of all, in the order of the hops."""
        behind = [hop.prefix + end for hop in self.hops for end in (CLIENT, SERVER)]
        return [self.client, self.server, *behind]

    def report(self) -> WorkloadReport:
        return self._workload.report(self.stage)


@dataclass(frozen=True, slots=True)
class _Moved:
    """How the nodes were moved, and what over."""

    result: SimulationResult
    forward: Link
    reverse: Link
    invalid: str = ""
    further: Sequence[tuple[str, Link]] = ()


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who looks on: at facts, at what the hosts send and receive, at what crosses the ends of a live path's links, and
    at what the links decide by chance, which is filled in by direction."""

    sink: Sink | None = None
    watcher: Watcher | None = None
    tap: Tap | None = None
    fates: Mapping[str, Fates] = field(default_factory=dict)

    def seen(self, address: Address, node: Node) -> Node:
        """The node to use instead of `node`."""
        return node if self.watcher is None else self.watcher.watch(address, node)


def execute(
    run: Run,
    sink: Sink | None = None,
    watcher: Watcher | None = None,
    fates: Mapping[str, Fates] = NO_FATES,
    *,
    tap: Tap | None = None,
) -> RunFacts:
    """Do one run. A run that cannot finish ends by its limits, and `stop` names which; nothing is caught.

    `fates`, by direction, are filled with what its links decide by chance.
    """
    configuration = run.configuration
    draws = DrawKey(run.seed if configuration.host_seed is None else configuration.host_seed)
    pairs = [_Pair(configuration.transport, configuration.workload, draws, sink)]
    if configuration.rival is not None:
        pairs += _rivals(configuration.rival, draws, sink)
    moved = _DRIVERS[run.driver](run, pairs, Watchers(sink, watcher, tap, fates))
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
        further=[(name, link_facts(link)) for name, link in moved.further],
    )


def _simulate(run: Run, pairs: Sequence[_Pair], watchers: Watchers) -> _Moved:
    configuration = run.configuration
    draws = link_draws(run)
    hosts = SimulatedHosts(name for pair in pairs for name in pair.hosts)
    reader = read_datagrams(hosts, Flows())

    def path(prefix: str = "") -> tuple[Link, Link]:
        def link(direction: str, config: LinkConfig) -> Link:
            name, fates = f"{prefix}{direction}", watchers.fates.get(f"{prefix}{direction}")
            return Link(config, name=name, draws=draws, sink=watchers.sink, reader=reader, fates=fates)

        return link("forward", configuration.forward), link("reverse", configuration.reverse)

    forward, reverse = path()
    paths = {CLIENT: (forward, reverse)}  # by the client whose they are
    beside: dict[Address, Address] = {}
    nodes: dict[Address, Node] = {}
    links: dict[tuple[Address, Address], Link] = {}
    for pair in pairs:
        nodes |= {pair.client: pair.stage.client, pair.server: pair.stage.server}
        links |= {(pair.client, pair.server): forward, (pair.server, pair.client): reverse}
        for before, hop in zip(("", *(hop.prefix for hop in pair.hops)), pair.hops, strict=False):
            client, server = hop.prefix + CLIENT, hop.prefix + SERVER
            nodes |= {client: hop.client, server: hop.server}
            paths[client] = there, back = path(hop.prefix)
            links |= {(client, server): there, (server, client): back}
            beside[before + SERVER if before else pair.server] = client
    assert watchers.tap is None, "what a simulated host sends is on its link at once: its watcher has seen it"
    nodes = {address: watchers.seen(address, node) for address, node in nodes.items()}
    simulator = Simulator(
        nodes, links, background=[host for host in nodes if host not in pairs[0].hosts], beside=beside
    )
    if configuration.events:
        timetables = [
            Timetable(
                configuration.events,
                {"forward": there, "reverse": back},
                rebind=partial(simulator.rebind, client),
                change_address=partial(simulator.change_address, client),
            )
            for client, (there, back) in paths.items()
        ]
        simulator.schedule(merge(*(timetable.moments() for timetable in timetables), key=itemgetter(0)))
    result = simulator.run(configuration.limits.time, configuration.limits.events)
    further = [
        (f"{hop.prefix}{direction}", link)
        for hop in pairs[0].hops
        for direction, link in zip(("forward", "reverse"), paths[hop.prefix + CLIENT], strict=True)
    ]
    return _Moved(result, forward, reverse, further=further)


def link_draws(run: Run) -> DrawKey:
    """What the links draw from."""
    return DrawKey(run.seed).derive("link")


def _run_live(run: Run, pairs: Sequence[_Pair], seen: Watchers) -> _Moved:
    assert not seen.fates, "a live run's fates cannot be had again"
    sink = seen.sink
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


def _run_in_namespaces(run: Run, pairs: Sequence[_Pair], seen: Watchers) -> _Moved:
    assert not seen.fates, "a live run's fates cannot be had again"
    sink = seen.sink
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
