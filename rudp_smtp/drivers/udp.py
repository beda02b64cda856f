"""The nodes of a run on real loopback sockets, the relay between them, and real time: one process, one thread.

The client and the server have a socket each, as in any deployment; only their names are those of the simulation. What
the machine did that nobody asked for makes a run invalid, and is told.

`LiveRun` moves nodes in real time whatever lies between them: the relay here, whole hosts in `netns`.
"""

import socket
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rudp_smtp.datagram import Address, Label, is_same_host, renamed
from rudp_smtp.drivers.capture import Tap
from rudp_smtp.drivers.clock import Lateness, Waiter
from rudp_smtp.drivers.crossing import Action
from rudp_smtp.drivers.priority import undisturbed
from rudp_smtp.drivers.proxy import DROPPED, NOT_TAKEN, Path, Relay
from rudp_smtp.drivers.pump import Node, deliver, expire
from rudp_smtp.drivers.sim import SimulationResult, Stop
from rudp_smtp.drivers.sockets import ANCILLARY_MAX, DATAGRAM_MAX, Endpoint, Marking, bound_socket, ecn_of, kernel_drops
from rudp_smtp.drivers.validity import reasons
from rudp_smtp.errors import LivelockError
from rudp_smtp.link.link import Link
from rudp_smtp.trace import Sink
from rudp_smtp.units import MILLISECOND

QUIET = 50 * MILLISECOND  # nothing is due anywhere, and for so long nothing came out of the kernel: stalled
TIMEOUTS_PER_TURN_MAX = 1_000  # of one node, before its timers have to wait for the sockets

_ANY_PORT = ("127.0.0.1", 0)
_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class LiveResult:
    """How a run ended, what its links did, and why it must not be believed; empty where it may be."""

    result: SimulationResult
    forward: Link
    reverse: Link
    invalid: str


class LiveHost(Protocol):
    """A node and its way to the network."""

    node: Node
    deadline: int | None  # when the node wants to be woken
    sent: int  # datagrams
    inputs: int  # datagrams and timeouts

    def expire(self, now: int) -> None: ...

    def close(self) -> None: ...


class Between(Protocol):
    """What lies between the hosts: both links, moved by the waiter and at their deadlines."""

    forward: Link
    reverse: Link
    lateness: Lateness

    def next_timeout(self) -> int | None: ...

    def handle_timeout(self) -> None: ...

    def schedule(self, moments: Iterable[tuple[int, Action]]) -> None: ...

    def rebind(self, now: int) -> None: ...

    def change_address(self, now: int) -> None: ...

    def close(self) -> None: ...


class Names:
    """What simulation would call a host that is seen at one endpoint after the other."""

    def __init__(self, name: Address) -> None:
        self._name = str(name)
        self._last: Address | None = None  # endpoint
        self._met = 0

    def next(self, endpoint: Address) -> str:
        """Its name at an endpoint that is new."""
        if self._last is not None:
            self._name = renamed(self._name, self._met, is_moved=not is_same_host(self._last, endpoint))
        self._last = endpoint
        self._met += 1
        return self._name


class UdpHost:
    """A node and its socket; the node's network, as the pump sees it."""

    def __init__(self, node: Node, label: Label, waiter: Waiter, own: socket.socket) -> None:
        self.node = node
        self._label = label  # of what arrives: from the other host's name
        self._seen: dict[Endpoint, tuple[Label, ...]] = {}  # the other host, and what it is called, as seen from here
        self._endpoints: dict[Address, Endpoint] = {}
        self._names = Names(label.source)
        self.sent = self.unsent = self.inputs = 0
        self.deadline = node.next_timeout()
        self.socket = own
        self._marking = Marking(own)
        self._waiter = waiter
        waiter.add(self.socket, self._receive)

    def send(self, data: bytes, remote: Address, now: int, ecn: int) -> None:
        self.sent += 1
        try:
            if ecn != self._marking.ecn:
                self._marking.set(ecn)
            self.socket.sendto(data, self._endpoints[remote])
        except (OSError, KeyError):
            self.unsent += 1

    def meet(self, endpoint: Endpoint) -> tuple[Label, ...]:
        """Know the other host by one more endpoint, where it is called another name, as in simulation."""
        name = self._names.next(endpoint)
        self._endpoints[name] = endpoint
        labels = self._seen[endpoint] = tuple(Label(name, self._label.target, ecn) for ecn in range(4))
        return labels

    def change_socket(self, own: socket.socket) -> None:
        """Go on with another socket; what comes to the one before is heard by nobody."""
        self.close()
        self.socket, self._marking = own, Marking(own)
        self._waiter.add(own, self._receive)

    def expire(self, now: int) -> None:
        self.deadline = expire(self.node, now, self)
        self.inputs += 1

    def close(self) -> None:
        self._waiter.remove(self.socket)
        self.socket.close()

    def _receive(self) -> None:
        """One datagram: timers and the relay have their turn before the next, which the kernel keeps."""
        try:
            data, ancillary, _flags, source = self.socket.recvmsg(DATAGRAM_MAX, ANCILLARY_MAX)
        except OSError:
            return
        labels = self._seen.get(source[:2]) or self.meet(source[:2])
        self.deadline = deliver(self.node, data, labels[ecn_of(ancillary)], self._waiter.now(), self)
        self.inputs += 1


class NamedTap:
    """A tap that calls hosts by their names in simulation, and not by where they really are."""

    def __init__(self, tap: Tap, client: Address, names: Mapping[Address, Address]) -> None:
        """Who is not among the `names` is the client at one more endpoint: see `UdpHost.meet`."""
        self._tap = tap
        self._next_names = Names(client)
        self._names = dict(names)

    def cross(self, data: bytes, hosts: tuple[Address, Address], now: int, ecn: int, direction: int) -> None:
        self._tap.cross(data, self._named(hosts), now, ecn, direction)

    def cross_whole(self, packet: bytes, hosts: tuple[Address, Address], now: int, direction: int) -> None:
        self._tap.cross_whole(packet, self._named(hosts), now, direction)

    def _named(self, hosts: tuple[Address, Address]) -> tuple[Address, Address]:
        source, target = hosts
        return self._names.get(source) or self._meet(source), self._names.get(target) or self._meet(target)

    def _meet(self, address: Address) -> Address:
        name = self._names[address] = self._next_names.next(address)
        return name


class LiveRun(ABC):
    """Owns the waiter, what lies between, and both hosts. Run once."""

    def __init__(self, waiter: Waiter, between: Between, hosts: Sequence[LiveHost]) -> None:
        self._waiter = waiter
        self._between = between
        self._hosts = hosts

    @property
    def path(self) -> Between:
        """What may be changed at times that are set before the run."""
        return self._between

    @abstractmethod
    def _unasked(self) -> Mapping[str, int]:
        """How many packets met a fate that no link decided, by what it was. Asked at the end, before all is closed."""

    @abstractmethod
    def _can_stall(self) -> bool:
        """Whether nothing at all can happen any more once no node and no link has a deadline."""

    def _packets(self) -> int:
        """How many the hosts sent."""
        return sum(host.sent for host in self._hosts)

    def run(self, until: int, events: int) -> LiveResult:
        """Go on until both nodes are done, nothing is left to happen, `until` is past, or `events` are spent."""
        try:
            with undisturbed():
                self._waiter.restart()  # getting ready took its time, which is none of the run's
                stop = self._move(until, events)
            now = self._waiter.now()
            invalid = reasons(self._unasked(), self._between.lateness)
        finally:
            for host in self._hosts:
                host.close()
            self._between.close()
            self._waiter.close()
        result = SimulationResult(now, self._inputs(), self._packets(), stop)
        return LiveResult(result, self._between.forward, self._between.reverse, invalid)

    def _move(self, until: int, events: int) -> Stop:
        quiet_inputs, quiet_since = -1, 0
        while not all(host.node.done for host in self._hosts):
            now = self._waiter.now()
            if now > until:
                return "time_limit"
            if self._inputs() >= events:
                return "event_limit"
            for host in self._hosts:
                self._expire_due(host)
            self._between.handle_timeout()
            deadlines = [host.deadline for host in self._hosts]
            deadlines += [self._between.forward.next_timeout(), self._between.reverse.next_timeout()]
            due = min((deadline for deadline in deadlines if deadline is not None), default=None)
            if due is None and self._can_stall():
                if quiet_inputs == self._inputs() and now - quiet_since >= QUIET:
                    return "stalled"
                if quiet_inputs != self._inputs():
                    quiet_inputs, quiet_since = self._inputs(), now
                due = quiet_since + QUIET
            change = self._between.next_timeout()  # which keeps no run going
            wakes = (due, change, until + 1)
            self._waiter.wait(min(wake for wake in wakes if wake is not None))
        return "done"

    def _expire_due(self, host: LiveHost) -> None:
        for _ in range(TIMEOUTS_PER_TURN_MAX):
            now = self._waiter.now()
            if host.deadline is None or host.deadline > now:
                return
            if host.deadline > 0:  # what is due from the start is no later than the start
                self._between.lateness.add(now - host.deadline)
            host.expire(now)
        raise LivelockError(f"a node handled {TIMEOUTS_PER_TURN_MAX} timeouts in a row and asks for more")

    def _inputs(self) -> int:
        return sum(host.inputs for host in self._hosts)


class UdpRun(LiveRun):
    """Both hosts on loopback, and the relay between them."""

    def __init__(
        self,
        client: tuple[Address, Node],
        server: tuple[Address, Node],
        path: Path,
        sink: Sink | None = None,
        tap: Tap | None = None,
    ) -> None:
        waiter = Waiter()
        self._server = UdpHost(server[1], Label(client[0], server[0]), waiter, bound_socket(_ANY_PORT))
        self._client = UdpHost(client[1], Label(server[0], client[0]), waiter, bound_socket(_ANY_PORT))
        upstream, downstream = (host.socket.getsockname()[:2] for host in (self._server, self._client))
        if tap is not None:
            tap = NamedTap(tap, client[0], {upstream: server[0], downstream: client[0]})
        self._relay = Relay(_ANY_PORT, upstream, path, waiter=waiter, sink=sink, tap=tap, clients_max=1, idle=_NEVER)
        self._client.meet(self._relay.address)
        super().__init__(waiter, self._relay, (self._client, self._server))

    def _unasked(self) -> Mapping[str, int]:
        unasked = self._relay.unasked
        for host in (self._client, self._server):
            unasked[DROPPED] += kernel_drops(host.socket)
            unasked[NOT_TAKEN] += host.unsent
        return unasked

    def _can_stall(self) -> bool:
        return True
