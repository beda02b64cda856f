"""Middlebox: whole IPv4 packets between two hosts, each way over a Link, in real time.

It decides what the simulator decides: the same link, the same keyed draws, packet by packet. What real time adds is
lateness, which is measured: how long after the time that the link named a packet left.
"""

import os
from collections.abc import Callable, Iterable

from rudp_smtp.datagram import CE, Address, Label
from rudp_smtp.drivers.capture import INBOUND, OUTBOUND, Tap
from rudp_smtp.drivers.clock import Waiter
from rudp_smtp.drivers.crossing import Action, Crossing
from rudp_smtp.drivers.hosts import SPARE_ADDRESSES, Host
from rudp_smtp.drivers.ipv4 import HEADER_SIZE, TCP, UDP, with_ce
from rudp_smtp.drivers.nat import Nat
from rudp_smtp.link.link import Link
from rudp_smtp.units import MILLISECOND

READ_OCTETS = 65_535  # an IPv4 packet is no larger
BATCH_PACKETS = 64  # read from one host before what is due goes out
FLOWS_MAX = 10_000  # told apart; after that many they are learnt anew
CHECK_INTERVAL = 20 * MILLISECOND  # how often we look whether all is over


class _Labels:
    """What packets from one host to the other wear, flow by flow, because a queue may serve flows in turn."""

    def __init__(self, source: Host, target: Host) -> None:
        self._ends = source.address, target.address
        self._flows: dict[bytes, tuple[Label, ...]] = {}

    def of(self, packet: bytes) -> Label:
        if len(packet) < HEADER_SIZE:
            return self._learn(b"")[0]
        # A plain header before the ports of TCP or UDP: all but a few packets. The rest is one flow.
        is_plain = packet[0] == 0x45 and packet[9] in (UDP, TCP) and not packet[7] and not packet[6] & 0x1F
        flow = packet[20:24] if is_plain else b""
        return (self._flows.get(flow) or self._learn(flow))[packet[1] & 3]

    def _learn(self, flow: bytes) -> tuple[Label, ...]:
        if len(self._flows) >= FLOWS_MAX:
            self._flows.clear()
        source, target = (f"{end} {flow.hex()}" for end in self._ends)
        labels = self._flows[flow] = tuple(Label(source, target, ecn) for ecn in range(4))
        return labels


class _Direction:
    """From one host to the other. `enter` and `leave` change a packet at the link's ends, or take it away.

    A tap sees it as the hosts do: before the one and after the other.
    """

    __slots__ = (
        "_clock",
        "_ends",
        "_labels",
        "_tap",
        "enter",
        "leave",
        "link",
        "refused",
        "source",
        "strays",
        "target",
    )

    def __init__(self, link: Link, ends: tuple[Host, Host], waiter: Waiter, tap: Tap | None) -> None:
        source, target = ends
        self.link = link
        self.source = source.device
        self.target = target.device
        self.enter: Callable[[bytes], bytes] | None = None
        self.leave: Callable[[bytes], bytes | None] | None = None
        self.refused = 0  # by the kernel: no IP packet any more, once it was corrupted
        self.strays = 0  # to a port that a rebinding took away
        self._labels = _Labels(source, target)
        self._clock = waiter.now
        self._tap = tap
        self._ends: tuple[Address, Address] = source.address, target.address

    def fileno(self) -> int:
        return self.source

    def receive(self) -> None:
        """Take in what the host sent, up to a batch."""
        push, clock, label_of, source = self.link.push, self._clock, self._labels.of, self.source
        for _ in range(BATCH_PACKETS):
            try:
                data = os.read(source, READ_OCTETS)
            except BlockingIOError:
                return
            now = clock()
            if self._tap is not None:
                self._tap.cross_whole(data, self._ends, now, OUTBOUND)
            if self.enter is not None:
                data = self.enter(data)
            push(data, now, label_of(data))

    def send(self, data: bytes, label: Label) -> None:
        if label.ecn == CE and data[1] & 3 != CE:
            data = with_ce(data)
        if self.leave is not None:
            left = self.leave(data)
            if left is None:
                self.strays += 1
                return
            data = left
        if self._tap is not None:
            self._tap.cross_whole(data, self._ends, self._clock(), INBOUND)
        try:
            os.write(self.target, data)
        except BlockingIOError:
            raise AssertionError("a TUN device takes what is written") from None
        except OSError:
            self.refused += 1


class Middlebox:
    """Owns both directions. Whoever moves the waiter moves it: `run`, or a driver."""

    def __init__(
        self, hosts: tuple[Host, Host], forward: Link, reverse: Link, *, waiter: Waiter, tap: Tap | None = None
    ) -> None:
        one, other = hosts
        self.forward, self.reverse = forward, reverse
        self._waiter = waiter
        self._crossing = Crossing(forward, reverse, waiter)
        self.lateness = self._crossing.lateness  # of both directions
        self._nat = Nat()
        self._mover = one
        self._moves = 0
        self.on_moved: Callable[[str], None] | None = None  # told the first host's new address
        self._there = _Direction(forward, (one, other), waiter, tap)
        self._back = _Direction(reverse, (other, one), waiter, tap)
        for direction in (self._there, self._back):
            waiter.add(direction, direction.receive)

    @property
    def refused(self) -> int:
        """Packets that the kernel took for no IP packet, as corruption leaves some."""
        return self._there.refused + self._back.refused

    @property
    def strays(self) -> int:
        """Packets to the first host that a rebinding left without a way to it."""
        return self._back.strays

    def schedule(self, moments: Iterable[tuple[int, Action]]) -> None:
        """Have these done at these times after the first packet."""
        self._crossing.schedule(moments)

    def rebind(self, now: int) -> None:
        """Let the first host's flows come from other ports from now on, as a NAT that forgot does."""
        self._nat.rebind()
        self._there.enter = self._nat.outward
        self._back.leave = self._nat.inward

    def change_address(self, now: int) -> None:
        """Give the first host's interface another address. What is on its way to the one before arrives nowhere: the
        kernel takes no packet for an address it has not."""
        address = SPARE_ADDRESSES[self._moves % len(SPARE_ADDRESSES)]
        self._moves += 1
        self._mover.change_address(address)
        if self.on_moved is not None:
            self.on_moved(address)

    def next_timeout(self) -> int | None:
        """When something is due."""
        return self._crossing.next_timeout()

    def handle_timeout(self) -> None:
        """Hand over what is due."""
        self._crossing.carry(self._there.send, self._back.send)

    def run(self, is_over: Callable[[], bool]) -> None:
        """Carry packets until `is_over`, which is asked a few dozen times a second."""
        check_at = 0
        while True:
            now = self._waiter.now()
            if now >= check_at:
                if is_over():
                    return
                check_at = now + CHECK_INTERVAL
            self.handle_timeout()
            due = self.next_timeout()
            self._waiter.wait(check_at if due is None else min(due, check_at))

    def close(self) -> None:
        """Look at the hosts no more; their devices are the hosts' own."""
        for direction in (self._there, self._back):
            self._waiter.remove(direction)
