"""ECN: what came marked, and whether what we mark arrives so (RFC 9000 section 13.4 and appendix A.4)."""

from collections.abc import Sequence

from rudp_smtp.datagram import CE, ECT_0, NOT_ECT
from rudp_smtp.machine import Machine
from rudp_smtp.recovery.recovery import AckOutcome, Recovery
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.trace import EcnStateUpdated, VantagePoint
from rudp_smtp.transport import TransportStats
from rudp_smtp.transport.rudp.state import ECN_TRANSITIONS, EcnInput, EcnState
from rudp_smtp.wire.ack_frame import AckFrame, EcnCounts

TEST_PACKETS = 10  # appendix A.4
NONE_COUNTED: EcnCounts = (0, 0, 0)

_MARKING = (EcnState.TESTING, EcnState.CAPABLE)
_JUDGING = (EcnState.TESTING, EcnState.UNKNOWN, EcnState.CAPABLE)


class ReceivedMarks:
    """Owns the counts of packets that arrived marked, which every acknowledgement reports once there are any."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: EcnCounts | None = None

    def on_packet_received(self, ecn: int) -> None:
        """Only for what is new and carries a mark."""
        ect_0, ect_1, ce = self.counts or NONE_COUNTED
        if ecn == ECT_0:
            self.counts = (ect_0 + 1, ect_1, ce)
        elif ecn == CE:
            self.counts = (ect_0, ect_1, ce + 1)
        else:
            self.counts = (ect_0, ect_1 + 1, ce)


class Marking:
    """Owns the codepoint of what we send, and what the peer counted of it.

    A departure from appendix A.4: the test begins after the handshake, so that a path which drops what is marked does
    not cost its time-outs.
    """

    __slots__ = (
        "_capable_from",
        "_counts",
        "_is_enabled",
        "_largest",
        "_machine",
        "_marked_before",
        "_recovery",
        "_stats",
        "_test_start",
        "_test_stop",
        "_vantage",
        "codepoint",
        "is_judging",
        "is_testing",
    )

    def __init__(self, is_enabled: bool, recovery: Recovery, stats: TransportStats, vantage: VantagePoint) -> None:
        self._is_enabled = is_enabled
        self._recovery = recovery
        self._stats = stats
        self._vantage = vantage
        self._machine = Machine(ECN_TRANSITIONS, EcnState.OFF)
        self.codepoint = NOT_ECT  # of the packet sent last
        self.is_testing = False
        self.is_judging = False
        self._counts = NONE_COUNTED  # as last reported
        self._largest = -1  # packet of the acknowledgement that reported them
        self._marked_before = 0  # packets marked before this test
        self._test_start = self._test_stop = 0  # packet numbers
        self._capable_from: int | None = None

    def start(self, now: int) -> None:
        """Test the path from the next packet on."""
        if not self._is_enabled:
            return
        self._marked_before = self._marked()
        self._test_start = self._recovery.sent.next_packet_number
        self._test_stop = self._test_start + TEST_PACKETS
        self._capable_from = None
        self._advance(EcnInput.START, now)

    def on_packet_sent(self, packet_number: int, now: int) -> None:
        """Only while testing."""
        if packet_number >= self._test_stop:
            self._advance(EcnInput.TESTED, now)

    def on_timeout(self, now: int) -> None:
        """Only while testing. Nothing was acknowledged for long: marks may be the reason (section 13.4.2.2)."""
        if self._recovery.pto_count > 1:
            self._test_stop = self._recovery.sent.next_packet_number
            self._advance(EcnInput.TESTED, now)

    def on_ack(self, frame: AckFrame, outcome: AckOutcome, now: int) -> None:
        """Judge the counts of an acknowledgement, and answer marks of congestion. Only while judging.

        Section 13.4.2.1: not those of one that came out of order.
        """
        largest = frame.ranges[0][1] - 1
        if largest <= self._largest:
            return
        marked = self._count_marked(outcome.acked) + self._count_marked(outcome.spurious)
        if frame.ecn is None:
            if marked:
                self._advance(EcnInput.REFUTED, now)
            return
        ect_0, ect_1, ce = frame.ecn
        ect_0_new, ce_new = ect_0 - self._counts[0], ce - self._counts[2]
        is_plausible = (
            ect_0_new >= 0
            and ce_new >= 0
            and ect_0_new + ce_new >= marked
            and ect_0 + ce <= self._marked()
            and ect_1 == 0  # we never send it
        )
        self._counts = frame.ecn
        self._largest = largest
        if not is_plausible:
            self._advance(EcnInput.REFUTED, now)
            return
        if marked:
            self._advance(EcnInput.PROVEN, now)
        if ce_new:
            self._stats.ecn_marked += ce_new
            newest = outcome.acked or outcome.spurious
            if newest:
                self._recovery.on_ecn_ce(newest[-1].sent_time, now)

    def _count_marked(self, packets: Sequence[SentPacket]) -> int:
        if not packets:
            return 0
        capable_from = self._capable_from
        if capable_from is not None and packets[0].packet_number >= capable_from:
            return len(packets)
        return sum(self._is_marked(packet.packet_number) for packet in packets)

    def _is_marked(self, packet_number: int) -> bool:
        """Whether a packet since this test began was marked; what was before is not judged any more."""
        if self._test_start <= packet_number < self._test_stop:
            return True
        return self._capable_from is not None and packet_number >= self._capable_from

    def _marked(self) -> int:
        """Packets marked since the connection began, or a few more: numbers that were skipped count."""
        following = self._recovery.sent.next_packet_number
        marked = self._marked_before + min(following, self._test_stop) - self._test_start
        if self._capable_from is not None:
            marked += following - self._capable_from
        return marked

    def _advance(self, given: EcnInput, now: int) -> None:
        if not self._machine.advance(given):
            return
        state = self._machine.state
        if state is EcnState.CAPABLE:
            following = self._recovery.sent.next_packet_number
            self._test_stop = min(self._test_stop, following)
            self._capable_from = following
        self.codepoint = ECT_0 if state in _MARKING else NOT_ECT
        self.is_testing = state is EcnState.TESTING
        self.is_judging = state in _JUDGING
        vantage = self._vantage
        if vantage.sink is not None:
            vantage.sink.emit(EcnStateUpdated(now, vantage.host, vantage.connection, state.value))
