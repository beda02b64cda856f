"""Middlebox: whole IPv4 packets between two hosts, each way over a Link, in real time.

It decides what the simulator decides: the same link, the same keyed draws, packet by packet. What real time adds is
lateness, which is measured: how long after the time that the link named a packet left.
"""

import os
from collections.abc import Callable

from rudp_smtp.datagram import CE, Label
from rudp_smtp.drivers.clock import Lateness, Waiter
from rudp_smtp.drivers.hosts import Host
from rudp_smtp.link.link import Link
from rudp_smtp.units import MILLISECOND

READ_OCTETS = 65_535  # an IPv4 packet is no larger
BATCH_PACKETS = 64  # read from one host before what is due goes out
CHECK_INTERVAL = 20 * MILLISECOND  # how often we look whether all is over
IPV4_HEADER_OCTETS = 20


class _Direction:
    """From one host to the other."""

    __slots__ = ("_waiter", "labels", "lateness", "link", "refused", "source", "target")

    def __init__(self, link: Link, ends: tuple[Host, Host], lateness: Lateness, waiter: Waiter) -> None:
        source, target = ends
        self.link = link
        self.source = source.device
        self.target = target.device
        self.labels = tuple(Label(source.address, target.address, ecn) for ecn in range(4))
        self.lateness = lateness
        self.refused = 0  # by the kernel: no IP packet any more, once it was corrupted
        self._waiter = waiter

    def fileno(self) -> int:
        return self.source

    def receive(self) -> None:
        """Take in what the host sent, up to a batch."""
        link, labels, now = self.link, self.labels, self._waiter.now
        for _ in range(BATCH_PACKETS):
            try:
                data = os.read(self.source, READ_OCTETS)
            except BlockingIOError:
                return
            link.push(data, now(), labels[data[1] & 3] if len(data) >= IPV4_HEADER_OCTETS else labels[0])

    def send_due(self) -> None:
        """Hand over what has arrived."""
        link, clock = self.link, self._waiter.now
        now = clock()
        due = link.next_timeout()
        while due is not None and due <= now:
            arrived = link.next_datagram(now)
            if arrived is None:
                return
            assert link.stats.delivered_last is not None
            self._hand_over(*arrived)
            now = clock()
            self.lateness.add(now - link.stats.delivered_last)
            due = link.next_timeout()

    def _hand_over(self, data: bytes, label: Label) -> None:
        if label.ecn == CE and data[1] & 3 != CE:
            data = with_ce(data)
        try:
            os.write(self.target, data)
        except BlockingIOError:
            raise AssertionError("a TUN device takes what is written") from None
        except OSError:
            self.refused += 1


class Middlebox:
    """Owns both directions. `lateness` is of both. Whoever moves the waiter moves it: `run`, or a driver."""

    def __init__(self, hosts: tuple[Host, Host], forward: Link, reverse: Link, *, waiter: Waiter) -> None:
        one, other = hosts
        self.forward, self.reverse = forward, reverse
        self.lateness = Lateness()
        self._waiter = waiter
        self._directions = (
            _Direction(forward, (one, other), self.lateness, waiter),
            _Direction(reverse, (other, one), self.lateness, waiter),
        )
        for direction in self._directions:
            waiter.add(direction, direction.receive)

    @property
    def refused(self) -> int:
        """Packets that the kernel took for no IP packet, as corruption leaves some."""
        return sum(direction.refused for direction in self._directions)

    def next_timeout(self) -> int | None:
        """When something is due."""
        due, other = self.forward.next_timeout(), self.reverse.next_timeout()
        return other if due is None or (other is not None and other < due) else due

    def handle_timeout(self) -> None:
        """Hand over what is due."""
        for direction in self._directions:
            direction.send_due()

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
        for direction in self._directions:
            self._waiter.remove(direction)


def with_ce(packet: bytes) -> bytes:
    """The IPv4 packet with CE in its header, whose checksum is put right (RFC 3168 section 5, RFC 1624)."""
    changed = bytearray(packet)
    before = int.from_bytes(packet[:2], "big")
    changed[1] |= CE
    after = int.from_bytes(changed[:2], "big")
    total = (~int.from_bytes(packet[10:12], "big") & 0xFFFF) + (~before & 0xFFFF) + after
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    changed[10:12] = (~total & 0xFFFF).to_bytes(2, "big")
    return bytes(changed)
