"""AckFrequency: how often either side wants to be acknowledged (draft-ietf-quic-ack-frequency).

The sender knows its window, which the receiver can only guess. It asks for a few acknowledgements per window, and for
one at once where nothing follows that would bring one: at the end of a flight, and with a probe.
"""

from rudp_smtp.ack.requested import Requested
from rudp_smtp.ack.tracker import AckTracker
from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.recovery.recovery import Recovery
from rudp_smtp.transport.rudp.config import MIN_ACK_DELAY, TransportConfig
from rudp_smtp.transport.rudp.outbox import Control, Outbox
from rudp_smtp.wire.ack_frequency import AckFrequencyFrame, ImmediateAckFrame
from rudp_smtp.wire.frames import Frame, HelloFrame

# Section 8.3 is content with a few; HyStart++ wants 8 round-trip samples per round (RFC 9406 section 4.2).
ACKS_PER_WINDOW = 8
PACKETS_MAX = 32  # per acknowledgement: each lets that many leave at once
PACKETS_MIN = 4  # it is not worth asking for less than twice what RFC 9000 section 13.2.2 recommends anyway
PACKETS_FREQUENT = 2  # where the controller must see queues as they begin: RFC 9000 section 13.2.2
CHANGE_FACTOR = 2  # of what was asked, before it is asked anew
DELAY_DIVISOR = 4  # of the round trip
REORDERING_THRESHOLD = 3  # kPacketThreshold, RFC 9002 section 6.1.1: what can be declared lost is heard of at once
IMMEDIATE_ACK = ImmediateAckFrame().encode()


class AckFrequency(Control):
    """Owns what the peer was asked, and the sequence numbers of both sides' requests."""

    __slots__ = (
        "_acks",
        "_heard_sequence",
        "_is_asking",
        "_is_offered",
        "_max_ack_delay",
        "_min_ack_delay",
        "_packets",
        "_recovery",
        "_sequence",
        "_smoothed_rtt",
        "is_sparse",
    )

    def __init__(self, outbox: Outbox, recovery: Recovery, acks: AckTracker, config: TransportConfig) -> None:
        super().__init__(outbox)
        self._recovery = recovery
        self._acks = acks
        self._is_asking = config.ack_frequency
        self._is_offered = config.is_ack_frequency_offered  # to the peer, in our HELLO
        self._min_ack_delay: int | None = None  # the peer's; None: it cannot be asked
        self._max_ack_delay = 0  # the peer's
        self._packets = PACKETS_MIN // 2  # per acknowledgement, as asked
        self._smoothed_rtt = 0  # when it was asked
        self._sequence = 0
        self._heard_sequence = -1
        self.is_sparse = False  # the peer was asked to wait, and so must be told where it must not

    # What we ask

    def on_hello(self, hello: HelloFrame) -> None:
        if self._is_asking:
            self._min_ack_delay = hello.min_ack_delay
            self._max_ack_delay = hello.max_ack_delay

    def on_ack_received(self) -> None:
        """Ask anew if the window or the round trip is far from what it was."""
        if self._min_ack_delay is None:
            return
        packets = self._affordable()
        wanted, asked = self._wanted(packets), self._packets
        is_far = not self.is_sparse or wanted >= asked * CHANGE_FACTOR or wanted * CHANGE_FACTOR <= asked
        if not is_far:
            smoothed_rtt, known = self._recovery.rtt.smoothed_rtt, self._smoothed_rtt
            is_far = smoothed_rtt >= known * CHANGE_FACTOR or smoothed_rtt * CHANGE_FACTOR <= known
        if is_far and (self.is_sparse or packets >= PACKETS_MIN):
            self.is_sparse = True
            self._outbox.add(self)

    def frame(self) -> Frame | None:
        assert self._min_ack_delay is not None
        self._packets = self._wanted(self._affordable())
        self._smoothed_rtt = self._recovery.rtt.smoothed_rtt
        delay = min(max(self._smoothed_rtt // DELAY_DIVISOR, self._min_ack_delay), self._max_ack_delay)
        frame = AckFrequencyFrame(self._sequence, self._packets - 1, delay, REORDERING_THRESHOLD)
        self._sequence += 1
        return frame

    def _affordable(self) -> int:
        """Packets per acknowledgement that leave a few of these per window."""
        congestion = self._recovery.congestion
        packets = congestion.congestion_window // congestion.max_datagram_size  # the path's, not the largest allowed
        return min(max(packets // ACKS_PER_WINDOW, 1), PACKETS_MAX)

    def _wanted(self, packets: int) -> int:
        """No fewer acknowledgements than the controller can do with, however many packets it affords for each."""
        return min(packets, PACKETS_FREQUENT) if self._recovery.congestion.wants_frequent_acks else packets

    # What we are asked

    def on_frame(self, frame: AckFrequencyFrame) -> None:
        """Obey, within our limits: no delay beyond what we declared."""
        if not self._is_offered:
            raise RemoteProtocolError("ACK_FREQUENCY was not offered", error_code=ErrorCode.PROTOCOL_VIOLATION)
        if frame.max_ack_delay < min(MIN_ACK_DELAY, self._acks.max_ack_delay):  # section 4
            raise RemoteProtocolError("an ACK delay shorter than offered", error_code=ErrorCode.PROTOCOL_VIOLATION)
        if frame.sequence_number <= self._heard_sequence:
            return
        self._heard_sequence = frame.sequence_number
        policy = Requested(frame.ack_eliciting_threshold, frame.max_ack_delay)
        self._acks.obey(policy, frame.reordering_threshold)
