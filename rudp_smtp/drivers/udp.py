"""The nodes of a run on real loopback sockets, the relay between them, and real time: one process, one thread.

The client and the server have a socket each, as in any deployment; only their names are those of the simulation. What
the machine did that nobody asked for makes a run invalid, and is told.
"""

from dataclasses import dataclass

from rudp_smtp.datagram import Address, Label
from rudp_smtp.drivers.clock import Waiter
from rudp_smtp.drivers.proxy import Path, Relay
from rudp_smtp.drivers.pump import Node, deliver, expire
from rudp_smtp.drivers.sim import SimulationResult, Stop
from rudp_smtp.drivers.sockets import ANCILLARY_MAX, DATAGRAM_MAX, Endpoint, Marking, bound_socket, ecn_of, kernel_drops
from rudp_smtp.errors import LivelockError
from rudp_smtp.link.link import Link
from rudp_smtp.trace import Sink
from rudp_smtp.units import MICROSECOND, MILLISECOND

LATENESS_MAX = 5 * MILLISECOND  # one in a hundred packets and timers may be later than this
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


class _Host:
    """A node and its socket; the node's network, as the pump sees it."""

    def __init__(self, node: Node, label: Label, waiter: Waiter) -> None:
        self.node = node
        self._label = label  # of what arrives: from the other host's name
        self._seen: dict[Endpoint, tuple[Label, ...]] = {}  # the other host, and what it is called, as seen from here
        self._endpoints: dict[Address, Endpoint] = {}
        self.sent = self.unsent = self.inputs = 0
        self.deadline = node.next_timeout()
        self.socket = bound_socket(_ANY_PORT)
        self._marking = Marking(self.socket)
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
        """Know the other host by one more address: after a rebinding it is called another name, as in simulation."""
        number = len(self._seen)
        name = f"{self._label.source}~{number}" if number else self._label.source
        self._endpoints[name] = endpoint
        labels = self._seen[endpoint] = tuple(Label(name, self._label.target, ecn) for ecn in range(4))
        return labels

    def expire(self, now: int) -> None:
        self.deadline = expire(self.node, now, self)
        self.inputs += 1

    def _receive(self) -> None:
        """One datagram: timers and the relay have their turn before the next, which the kernel keeps."""
        try:
            data, ancillary, _flags, source = self.socket.recvmsg(DATAGRAM_MAX, ANCILLARY_MAX)
        except OSError:
            return
        labels = self._seen.get(source[:2]) or self.meet(source[:2])
        self.deadline = deliver(self.node, data, labels[ecn_of(ancillary)], self._waiter.now(), self)
        self.inputs += 1


class LiveRun:
    """Owns the waiter, the relay and both hosts. Run once."""

    def __init__(
        self, client: tuple[Address, Node], server: tuple[Address, Node], path: Path, sink: Sink | None
    ) -> None:
        self._waiter = Waiter()
        self._server = _Host(server[1], Label(client[0], server[0]), self._waiter)
        upstream: Endpoint = self._server.socket.getsockname()[:2]
        self._relay = Relay(_ANY_PORT, upstream, path, waiter=self._waiter, sink=sink, clients_max=1, idle=_NEVER)
        self._client = _Host(client[1], Label(server[0], client[0]), self._waiter)
        self._client.meet(self._relay.address)
        self._hosts = (self._client, self._server)

    @property
    def path(self) -> Relay:
        """What lies between the hosts, and may be changed at times set before the run."""
        return self._relay

    def run(self, until: int, events: int) -> LiveResult:
        """Go on until both nodes are done, nothing is left to happen, `until` is past, or `events` are spent."""
        try:
            stop = self._move(until, events)
            now = self._waiter.now()
            invalid = self._invalid()
        finally:
            for host in self._hosts:
                self._waiter.remove(host.socket)
                host.socket.close()
            self._relay.close()
            self._waiter.close()
        result = SimulationResult(now, self._inputs(), sum(host.sent for host in self._hosts), stop)
        return LiveResult(result, self._relay.forward, self._relay.reverse, invalid)

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
            self._relay.handle_timeout()
            deadlines = [host.deadline for host in self._hosts]
            deadlines += [self._relay.forward.next_timeout(), self._relay.reverse.next_timeout()]
            due = min((deadline for deadline in deadlines if deadline is not None), default=None)
            if due is None:
                if quiet_inputs == self._inputs() and now - quiet_since >= QUIET:
                    return "stalled"
                if quiet_inputs != self._inputs():
                    quiet_inputs, quiet_since = self._inputs(), now
                due = quiet_since + QUIET
            change = self._relay.next_timeout()  # which keeps no run going
            self._waiter.wait(min(due, until + 1) if change is None else min(due, until + 1, change))
        return "done"

    def _expire_due(self, host: _Host) -> None:
        for _ in range(TIMEOUTS_PER_TURN_MAX):
            now = self._waiter.now()
            if host.deadline is None or host.deadline > now:
                return
            if host.deadline > 0:  # what is due from the start is no later than the start
                self._relay.lateness.add(now - host.deadline)
            host.expire(now)
        raise LivelockError(f"a node handled {TIMEOUTS_PER_TURN_MAX} timeouts in a row and asks for more")

    def _inputs(self) -> int:
        return sum(host.inputs for host in self._hosts)

    def _invalid(self) -> str:
        reasons: dict[str, int] = {
            "datagrams dropped by the kernel": self._relay.kernel_drops
            + sum(kernel_drops(host.socket) for host in self._hosts),
            "datagrams not taken by the kernel": self._relay.stats.packets_unsent
            + sum(host.unsent for host in self._hosts),
        }
        told = [f"{count} {reason}" for reason, count in reasons.items() if count]
        late = self._relay.lateness.quantile(0.99)
        if late > LATENESS_MAX:
            told.append(f"lateness p99 {late // MICROSECOND} us, more than {LATENESS_MAX // MICROSECOND} us")
        return "; ".join(told)
