"""Simulator: virtual time. Nodes and links are asked when they next have something to do, and time jumps there.

Discrete events in a heap ordered by (time, insertion count): equal times are served first come, first served, so a
run is the same everywhere. Timers are re-armed lazily: a node or link has at most one live entry in the heap, a
deadline that moved later leaves it where it is, and an entry that comes too early is put back at the real deadline.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from types import MappingProxyType
from typing import Literal

from rudp_smtp.datagram import Address, Label, renamed
from rudp_smtp.drivers.pump import Node, deliver, expire
from rudp_smtp.errors import DriverError, LivelockError
from rudp_smtp.link.link import Link

TIMEOUTS_PER_INSTANT_MAX = 1_000  # one node's, at one and the same time: it is not getting anywhere

Stop = Literal["done", "time_limit", "event_limit", "stalled"]  # stalled: nothing is left to happen, but not done

Action = Callable[[int], None]  # is told the time

_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """How a run ended, and after what."""

    now: int  # virtual time at the end
    events: int  # inputs to nodes: datagrams and timeouts
    packets: int  # datagrams the nodes sent
    stop: Stop


class _Slot:
    """Something with a deadline: which entry in the heap is its live one."""

    __slots__ = ("armed", "entry")

    def __init__(self) -> None:
        self.armed = _NEVER  # the time of the live entry
        self.entry = 0  # its insertion count: an entry with another one is stale


class _Wire(_Slot):
    """A link, which several pairs of hosts may share: each datagram's label says whose it is."""

    __slots__ = ("is_fifo", "link")

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link = link
        self.is_fifo = link.is_fifo


class _Route:
    """The wire from one host to another, and the labels its datagrams wear, by ECN codepoint."""

    __slots__ = ("labels", "wire")

    def __init__(self, wire: _Wire, source: Address, target: Address) -> None:
        self.wire = wire
        self.set_source(source, target)

    def set_source(self, source: Address, target: Address) -> None:
        self.labels = tuple(Label(source, target, ecn) for ecn in range(4))


class _Agenda(_Slot):
    """What else happens, and when: changes to the path."""

    __slots__ = ("action", "moments", "time")

    def __init__(self, moments: Iterator[tuple[int, Action]]) -> None:
        super().__init__()
        self.moments = moments
        self.advance()

    def advance(self) -> None:
        """Go on to the next moment; after the last none comes."""
        self.time, self.action = next(self.moments, (_NEVER, _nothing))


def _nothing(now: int) -> None:
    """Done when nothing is left to do."""


class _Host(_Slot):
    """A node and the links that lead away from it; the node's network, as the pump sees it."""

    __slots__ = (
        "address",
        "beside",
        "is_awaited",
        "is_done",
        "name",
        "node",
        "renamings",
        "routes",
        "sent",
        "simulator",
        "timed_out_at",
        "timeouts",
    )

    def __init__(self, address: Address, node: Node, simulator: "Simulator", *, is_awaited: bool) -> None:
        super().__init__()
        self.address = address
        self.name = address  # what others see, which a rebinding changes, and another address
        self.renamings = 0
        self.node = node
        self.beside: _Host | None = None  # whom an input to this one may give something to do
        self.simulator = simulator
        self.routes: dict[Address, _Route] = {}
        self.sent = 0  # datagrams
        self.is_awaited = is_awaited  # the run goes on until it is done
        self.is_done = node.done or not is_awaited
        self.timed_out_at = -1
        self.timeouts = 0  # in a row at `timed_out_at`

    def send(self, data: bytes, remote: Address, now: int, ecn: int) -> None:
        """Send something over a link, which may now have something to do earlier than it had.

        Not if it is in order and has something on its way already: that comes first.
        """
        route = self.routes.get(remote)
        if route is None:
            raise DriverError(f"no link leads from {self.address!r} to {remote!r}")
        wire = route.wire
        link = wire.link
        link.push(data, now, route.labels[ecn])
        self.sent += 1
        if wire.armed == _NEVER or not wire.is_fifo:
            self.simulator.arm(wire, link.next_timeout(), 0)


class Simulator:
    """Owns the clock and the heap. Run once."""

    def __init__(
        self,
        nodes: Mapping[Address, Node],
        links: Mapping[tuple[Address, Address], Link],
        *,
        background: Collection[Address] = (),
        beside: Mapping[Address, Address] = MappingProxyType({}),
    ) -> None:
        """`links` maps (from, to) to the direction between those two nodes; pairs that share a path share its links.

        The nodes in the `background` take part like all others, but the run does not wait for them. `beside` names
        for a node another one on the same machine, which is looked at again after each of its inputs.
        """
        self._heap: list[tuple[int, int, _Slot]] = []
        self._entries = 0
        self._hosts = hosts = {
            address: _Host(address, node, self, is_awaited=address not in background) for address, node in nodes.items()
        }
        self._names: dict[Address, _Host] = dict(hosts)
        self._agenda = _Agenda(iter(()))
        wires = {link: _Wire(link) for link in links.values()}
        self._links = list(wires)
        self._wires = list(wires.values())
        for (source, target), link in links.items():
            if source not in hosts or target not in hosts:
                raise DriverError(f"a link leads from {source!r} to {target!r}, but not both are nodes")
            hosts[source].routes[target] = _Route(wires[link], source, target)
        for address, other in beside.items():
            hosts[address].beside = hosts[other]
        self._unfinished = sum(not host.is_done for host in hosts.values())

    def schedule(self, moments: Iterable[tuple[int, Action]]) -> None:
        """Have these done at these times, which never go back. Each counts as an event."""
        self._agenda = _Agenda(iter(moments))

    def rebind(self, address: Address, now: int) -> None:
        """Let a host be seen at another port from now on, as a NAT that forgot does."""
        self._rename(address, is_moved=False)

    def change_address(self, address: Address, now: int) -> None:
        """Let a host be at another address from now on. Nobody tells it: its socket is bound to none."""
        self._rename(address, is_moved=True)

    def _rename(self, address: Address, *, is_moved: bool) -> None:
        """What is on its way to the old name, or sent there later, arrives nowhere."""
        host = self._hosts[address]
        del self._names[host.name]
        host.renamings += 1
        host.name = renamed(str(host.name), host.renamings, is_moved=is_moved)
        self._names[host.name] = host
        for remote, route in host.routes.items():
            route.set_source(host.name, remote)
        for other in self._hosts.values():
            known = other.routes.get(address)
            if known is not None:
                other.routes[host.name] = _Route(known.wire, other.name, host.name)

    def run(self, until: int, events: int) -> SimulationResult:
        """Go on until all awaited nodes are done, nothing is left to happen, `until` is past, or `events` are spent."""
        for host in self._hosts.values():
            self.arm(host, host.node.next_timeout(), 0)
        self.arm(self._agenda, self._agenda.time, 0)
        heap = self._heap
        now = 0
        spent = 0
        while self._unfinished:
            if not heap:
                return self._result(now, spent, "stalled")
            if heap[0][0] > until:
                if self._is_stalled():
                    return self._result(now, spent, "stalled")
                return self._result(until, spent, "time_limit")
            if spent >= events:
                return self._result(now, spent, "event_limit")
            time, entry, slot = heappop(heap)
            if entry != slot.entry:
                continue
            slot.armed = _NEVER
            if isinstance(slot, _Wire):
                inputs = self._arrive(slot, time, events - spent)
            elif isinstance(slot, _Host):
                inputs = self._wake(slot, time)
            else:
                inputs = self._change(time)
            if inputs:
                now = time
                spent += inputs
        return self._result(now, spent, "done")

    def _result(self, now: int, spent: int, stop: Stop) -> SimulationResult:
        return SimulationResult(now, spent, sum(host.sent for host in self._hosts.values()), stop)

    def _is_stalled(self) -> bool:
        """Whether the heap holds nothing but deadlines that were given up."""
        return all(host.node.next_timeout() is None for host in self._hosts.values()) and all(
            link.next_timeout() is None for link in self._links
        )

    def _change(self, now: int) -> int:
        """Do what is due; how many things that was. Where nothing is left to happen a change makes no difference."""
        agenda = self._agenda
        agenda.action(now)
        agenda.advance()
        for wire in self._wires:
            wire.is_fifo = wire.link.is_fifo
            self.arm(wire, wire.link.next_timeout(), now)
        if not self._is_stalled():
            self.arm(agenda, agenda.time, now)
        return 1

    def _arrive(self, wire: _Wire, now: int, events_max: int) -> int:
        """Hand over what the link has ready; how many inputs that was."""
        link = wire.link
        inputs = 0
        arrived = link.next_datagram(now)
        upcoming = None
        while arrived is not None:
            inputs += 1
            data, label = arrived
            host = self._names.get(label.target)
            if host is not None:  # None: an address that somebody had before
                self._settle(host, deliver(host.node, data, label, now, host), now)
            upcoming = link.next_timeout()
            if upcoming is None or upcoming > now or inputs == events_max or not self._unfinished:
                break
            arrived = link.next_datagram(now)
        self.arm(wire, link.next_timeout() if arrived is None else upcoming, now)
        return inputs

    def _wake(self, host: _Host, now: int) -> int:
        """Fire the node's timer if its deadline has really come; how many inputs that was."""
        deadline = host.node.next_timeout()
        if deadline is None or deadline > now:
            self.arm(host, deadline, now)
            return 0
        if host.timed_out_at != now:
            host.timed_out_at = now
            host.timeouts = 0
        host.timeouts += 1
        if host.timeouts > TIMEOUTS_PER_INSTANT_MAX:
            raise LivelockError(
                f"node {host.address!r} handled {host.timeouts - 1} timeouts at {now} ns "
                f"and still asks to be woken at {deadline} ns"
            )
        self._settle(host, expire(host.node, now, host), now)
        return 1

    def _settle(self, host: _Host, deadline: int | None, now: int) -> None:
        """After an input: note whether the node is done, and arm its timer."""
        if host.is_awaited:
            is_done = host.node.done
            if is_done != host.is_done:
                host.is_done = is_done
                self._unfinished += -1 if is_done else 1
        if deadline is not None and deadline < host.armed:
            self.arm(host, deadline, now)
        if host.beside is not None:
            self._settle(host.beside, host.beside.node.next_timeout(), now)

    def arm(self, slot: _Slot, deadline: int | None, now: int) -> None:
        """See that the slot is looked at by its deadline. Earlier is harmless, so a later one changes nothing."""
        if deadline is None or deadline >= slot.armed:
            return
        self._entries += 1
        slot.armed = deadline if deadline > now else now
        slot.entry = self._entries
        heappush(self._heap, (slot.armed, self._entries, slot))
