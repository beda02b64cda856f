"""Path MTU discovery with packets nobody needs, and the recognition of a path that has become narrower (RFC 8899).

The search is RFC 8899's with its timers turned into questions: a probe leaves only where so much waits that larger
datagrams pay, so an idle connection and a short dialogue cost nothing. Sizes are UDP payloads.
"""

from collections.abc import Sequence
from typing import Final

from rudp_smtp.recovery.recovery import Recovery
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.trace import MtuUpdated, VantagePoint
from rudp_smtp.transport import TransportStats
from rudp_smtp.units import SECOND
from rudp_smtp.wire.hello import MIN_DATAGRAM_SIZE

BASE_SIZE = MIN_DATAGRAM_SIZE  # BASE_PLPMTU, RFC 9000 section 14.3
MAX_PROBES = 3  # lost ones of a size before it counts as too large, RFC 8899 section 5.1.2
FIRST_SIZES = (1472, 8972)  # tried first: Ethernet's 1500 octets and jumbo frames' 9000, less IPv4 and UDP headers
COMMON_SIZES = (1280, 1400, 1452, 1472, 8972)  # tried before halving, largest first, once something was too large
PRECISION, PRECISION_SHIFT = 16, 6  # octets, or this share of the size: a search that is this close is at its end
WORTH_DATAGRAMS = 16  # a probe pays where this many datagrams wait to be sent
# RFC 8899's PMTU_RAISE_TIMER is 600 s. A departure: the first searches anew come sooner, because a search that ended
# by three losses of chance is soon made good so.
RAISE_INTERVAL_FIRST, RAISE_INTERVAL_MAX = 10 * SECOND, 600 * SECOND
MIXING_LOSSES = 3  # lost large packets in a row, before every other packet is a small one
BLACK_HOLE_LOSSES = 10  # and then this many, while small ones arrive: at 30 % random loss one time in 10**6
NEVER: Final = 1 << 62


class PathMtu:
    """Owns the size of datagrams on the path and what is to be tried next.

    Black-hole detection: loss alone proves nothing. Large packets lost one after another, not one acknowledged, raise
    a doubt; in doubt every other packet is of the base size, which every path carries. Only large packets lost between
    small ones that arrive are evidence, so an outage is none.
    """

    __slots__ = (
        "_base",
        "_ceiling",
        "_doubt",
        "_is_enabled",
        "_is_mixing",
        "_limit",
        "_losses",
        "_probe_number",
        "_probe_size",
        "_raise_interval",
        "_recovery",
        "_settled",
        "_stats",
        "_vantage",
        "is_active",
        "is_busy",
        "probe_time",
        "size",
    )

    def __init__(
        self, *, is_enabled: bool, limit: int, recovery: Recovery, stats: TransportStats, vantage: VantagePoint
    ) -> None:
        self._is_enabled = is_enabled
        self._base = start_size(is_enabled, limit)
        self._limit = limit
        self._recovery = recovery
        self._stats = stats
        self._vantage = vantage
        self.size = self._base  # in force
        self.probe_time = NEVER  # from when on a probe may leave
        self.is_busy = False  # the next packet may have to be of another size
        self.is_active = False  # acknowledgements and losses are of interest
        self._is_mixing = False  # every other packet is a small one
        self._ceiling = limit + 1  # the smallest size known, or thought, not to arrive
        self._probe_size = 0
        self._probe_number = -1  # of the probe on its way; -1: none
        self._losses = 0  # of probes of this size
        self._raise_interval = RAISE_INTERVAL_FIRST
        self._doubt = Doubt()
        self._settled = 0  # what was sent before this number proves nothing of the size in force

    # Inputs

    def on_peer_limit(self, limit: int, now: int) -> None:
        """The peer's HELLO: it takes no larger datagrams. The search may begin."""
        self._limit = min(self._limit, limit)
        self._ceiling = self._limit + 1
        if self.size > self._limit:
            self._base = min(self._base, self._limit)
            self._set_size(self._limit, now)
        self.restart(now)

    def restart(self, now: int) -> None:
        """Begin anew: nothing is known of the path but that it carries the base size."""
        if not self._is_enabled:
            return
        self.is_active = True
        self._ceiling = self._limit + 1
        self._raise_interval = RAISE_INTERVAL_FIRST
        self._probe_number = -1
        self._settle_doubt()
        if self.size > self._base:
            self._set_size(self._base, now)
        self._search(now)
        self._note_busy()

    def on_acked(self, acked: Sequence[SentPacket], now: int) -> None:
        """Only while active."""
        if self._probe_number < 0 and not self._doubt.is_raised:
            return
        for packet in acked:
            if packet.packet_number == self._probe_number:
                self._on_probe_acked(packet.size, now)
            if self._doubt.is_raised and self._doubt.is_settled_by(packet):
                self._doubt = Doubt()
                self._is_mixing = False
        self._note_busy()

    def on_lost(self, lost: Sequence[SentPacket], now: int) -> None:
        """Only while active."""
        for packet in lost:
            if packet.packet_number == self._probe_number:
                self._on_probe_lost(now)
            elif packet.packet_number >= self._settled and packet.size > self._base and not packet.is_path_probe:
                self._doubt.on_lost(packet)
                self._is_mixing = self._doubt.losses >= MIXING_LOSSES
        if self._doubt.evidence >= BLACK_HOLE_LOSSES:
            self._on_black_hole(now)
        self._note_busy()

    def on_probe_sent(self, packet_number: int) -> None:
        self._probe_number = packet_number
        self.probe_time = NEVER
        self._note_busy()
        self._stats.mtu_probes_sent += 1

    # Outputs

    @property
    def probe_size(self) -> int:
        """Of the next probe."""
        return self._probe_size

    def size_of(self, packet_number: int, is_probe: bool) -> int:
        """The size of a packet that may be smaller: one for a time-out, so that it arrives whatever happened to the
        path, or every other one in doubt."""
        if is_probe or (self._is_mixing and packet_number & 1):
            return self._base
        return self.size

    # Steps

    def _on_probe_acked(self, size: int, now: int) -> None:
        self._probe_number = -1
        if size > self.size:
            self._set_size(size, now)
        self._search(now)

    def _on_probe_lost(self, now: int) -> None:
        self._probe_number = -1
        self._losses += 1
        if self._losses < MAX_PROBES:
            self.probe_time = now
            return
        self._ceiling = self._probe_size
        self._search(now)

    def _on_black_hole(self, now: int) -> None:
        """Section 4.3: back to what every path carries; the size that failed is tried again at the next raise."""
        self._ceiling = self._doubt.size
        self._settle_doubt()
        self._probe_number = -1
        self._stats.black_holes += 1
        self._set_size(self._base, now)
        self._search(now)

    def _settle_doubt(self) -> None:
        self._doubt = Doubt()
        self._is_mixing = False
        self._settled = self._recovery.sent.next_packet_number

    def _search(self, now: int) -> None:
        """Choose the next size to try, or rest until the next raise."""
        self._losses = 0
        candidate = next_size(self.size, self._ceiling, self._limit)
        if candidate is not None:
            self._probe_size = candidate
            self.probe_time = now
        elif self.size == self._limit:
            self.probe_time = NEVER
        else:
            self._ceiling = self._limit + 1
            self._probe_size = next_size(self.size, self._ceiling, self._limit) or self._limit
            self.probe_time = now + self._raise_interval
            self._raise_interval = min(2 * self._raise_interval, RAISE_INTERVAL_MAX)

    def _note_busy(self) -> None:
        self.is_busy = self._is_mixing or self.probe_time < NEVER

    def _set_size(self, size: int, now: int) -> None:
        self.size = size
        self._recovery.set_max_datagram_size(size)
        vantage = self._vantage
        if vantage.sink is not None:
            vantage.sink.emit(MtuUpdated(now, vantage.host, vantage.connection, size))


class Doubt:
    """Owns the large packets lost since one was last acknowledged."""

    __slots__ = ("_first_small", "_start", "evidence", "is_raised", "losses", "size")

    def __init__(self) -> None:
        self.is_raised = False
        self.losses = 0
        self.evidence = 0  # of these, sent after a small packet that arrived
        self.size = 0  # of the smallest that was lost
        self._start = 0  # the number of the first
        self._first_small = NEVER  # packet sent since, and acknowledged

    def on_lost(self, packet: SentPacket) -> None:
        number, size = packet.packet_number, packet.size
        if not self.is_raised:
            self.is_raised = True
            self._start = number
            self.size = size
        elif size < self.size:
            self.size = size
        self.losses += 1
        if number > self._first_small:
            self.evidence += 1

    def is_settled_by(self, packet: SentPacket) -> bool:
        """Take a packet that was acknowledged: whether it is as large as what was lost, so that chance lost it."""
        number = packet.packet_number
        if number < self._start:
            return False
        if packet.size >= self.size:
            return True
        if number < self._first_small:
            self._first_small = number
        return False


def start_size(is_enabled: bool, limit: int) -> int:
    """The size before anything is known: where nothing is searched, what the scenario says the path carries."""
    return BASE_SIZE if is_enabled else limit


def next_size(works: int, ceiling: int, limit: int) -> int | None:
    """What to try between a size that works and one that does not; None when they are close enough."""
    if ceiling > limit:  # nothing has failed yet
        if works >= limit:
            return None
        return next((size for size in FIRST_SIZES if works < size <= limit), limit)
    if ceiling - works <= max(PRECISION, works >> PRECISION_SHIFT):
        return None
    common = [size for size in COMMON_SIZES if works < size < ceiling]
    return common[-1] if common else (works + ceiling) // 2
