"""Middlebox: whole IPv4 packets between two hosts, each way over a Link, in real time.

It decides what the simulator decides: the same link, the same keyed draws, packet by packet. What real time adds is
lateness, which is measured: how long after the time that the link named a packet left.
"""

import os
import select
import time
from collections.abc import Callable

from rudp_smtp.datagram import CE, Label
from rudp_smtp.drivers.clock import Lateness
from rudp_smtp.drivers.hosts import Host
from rudp_smtp.link.link import NEVER, Link
from rudp_smtp.units import MICROSECOND, MILLISECOND, SECOND

READ_OCTETS = 65_535  # an IPv4 packet is no larger
BATCH_PACKETS = 64  # read from one host before the other has its turn
SPIN = 100 * MICROSECOND  # the last of a wait is spun: a sleeping process wakes about that late
CHECK_INTERVAL = 20 * MILLISECOND  # how often we look whether all is over
IPV4_HEADER_OCTETS = 20


class _Direction:
    """From one host to the other."""

    __slots__ = ("labels", "lateness", "link", "refused", "source", "target")

    def __init__(self, link: Link, source: Host, target: Host, lateness: Lateness) -> None:
        self.link = link
        self.source = source.device
        self.target = target.device
        self.labels = tuple(Label(source.address, target.address, ecn) for ecn in range(4))
        self.lateness = lateness
        self.refused = 0  # by the kernel: no IP packet any more, once it was corrupted

    def read(self, now: int) -> bool:
        """Take in what the host sent; whether there may be more."""
        link, labels, source = self.link, self.labels, self.source
        for _ in range(BATCH_PACKETS):
            try:
                data = os.read(source, READ_OCTETS)
            except BlockingIOError:
                return False
            link.push(data, now, labels[data[1] & 3] if len(data) >= IPV4_HEADER_OCTETS else labels[0])
        return True

    def write(self, now: int) -> int:
        """Hand over what has arrived; when the next one does."""
        link = self.link
        due = link.next_timeout()
        while due is not None and due <= now:
            arrived = link.next_datagram(now)
            if arrived is not None:
                self.lateness.add(now - due)
                self._hand_over(*arrived)
            upcoming = link.next_timeout()
            if arrived is None and upcoming == due:
                break
            due = upcoming
        return NEVER if due is None else due

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
    """Owns both directions. `lateness` is of both."""

    def __init__(self, hosts: tuple[Host, Host], forward: Link, reverse: Link) -> None:
        one, other = hosts
        self.lateness = Lateness()
        self._forward = _Direction(forward, one, other, self.lateness)
        self._reverse = _Direction(reverse, other, one, self.lateness)
        self._started = time.monotonic_ns()

    @property
    def refused(self) -> int:
        """Packets that the kernel took for no IP packet, as corruption leaves some."""
        return self._forward.refused + self._reverse.refused

    def run(self, is_over: Callable[[], bool]) -> None:
        """Carry packets until `is_over`, which is asked a few dozen times a second."""
        directions = (self._forward, self._reverse)
        devices = [direction.source for direction in directions]
        check_at = 0
        while True:
            now = time.monotonic_ns() - self._started
            if now >= check_at:
                if is_over():
                    return
                check_at = now + CHECK_INTERVAL
            is_more = False
            for direction in directions:
                is_more = direction.read(time.monotonic_ns() - self._started) or is_more
            now = time.monotonic_ns() - self._started
            due = min(direction.write(now) for direction in directions)
            wait = min(due, check_at) - SPIN - (time.monotonic_ns() - self._started)
            if not is_more:
                select.select(devices, (), (), max(wait, 0) / SECOND)


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
