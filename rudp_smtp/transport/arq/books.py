"""ArqBooks: what a connection sent and what became of it, as statistics and as facts."""

from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.trace import (
    ConnectionStateUpdated,
    MetricsUpdated,
    PacketAcked,
    PacketLost,
    VantagePoint,
)
from rudp_smtp.transport import TransportStats
from rudp_smtp.transport.arq.frame import OVERHEAD
from rudp_smtp.transport.arq.segments import Segment
from rudp_smtp.transport.books import Books, Range


class Outgoing:
    """A frame that carries a segment, from its first transmission until it is acknowledged."""

    __slots__ = ("index", "packet_number", "segment", "sent_time", "transmissions")

    def __init__(self, index: int, segment: Segment) -> None:
        self.index = index
        self.segment = segment
        self.transmissions = 0
        self.sent_time = -1  # these two are of its last transmission
        self.packet_number = -1


class ArqBooks(Books):
    """Owns the statistics and the count of what is on its way. A packet number is here how many were sent before.

    Nobody can say that a time-out was premature: the acknowledgement that comes late does not tell which copy it is
    for. So `packets_spurious` stays 0, and `packets_lost` counts time-outs, frame by frame.
    """

    __slots__ = ("_rtt", "bytes_out", "is_close_acked", "is_close_sent", "segments_out")

    def __init__(self, vantage: VantagePoint, rtt: RttEstimator, congestion_window: int) -> None:
        super().__init__(vantage, TransportStats(congestion_window=congestion_window))
        self.segments_out = self.bytes_out = 0  # sent and not acknowledged
        self.is_close_sent = self.is_close_acked = False
        self._rtt = rtt

    def on_frame_sent(self, frame: Outgoing, size: int, now: int) -> None:
        """Stamp the frame as it leaves."""
        frame.transmissions += 1
        frame.sent_time = now
        frame.packet_number = self.stats.packets_sent
        segment = frame.segment
        is_again = frame.transmissions > 1
        if is_again:
            self.stats.stream_bytes_retransmitted += segment.stop - segment.start
        else:
            self.segments_out += 1
            self.bytes_out += OVERHEAD + len(segment.payload)
            if segment.is_close:
                self.is_close_sent = True
        streams: tuple[Range, ...] = ()
        if self._vantage.sink is not None and not segment.is_close:
            streams = ((segment.stream_id, segment.start, segment.stop),)
        self.on_sent(size, now, is_ack_eliciting=True, streams=streams, is_retransmission=is_again)

    def on_frame_acked(self, frame: Outgoing, now: int) -> None:
        self.stats.packets_acked += 1
        self.segments_out -= 1
        self.bytes_out -= OVERHEAD + len(frame.segment.payload)
        self.is_close_acked |= frame.segment.is_close
        vantage = self._vantage
        if vantage.sink is not None:
            vantage.sink.emit(PacketAcked(now, vantage.host, vantage.connection, frame.packet_number))
            self._tell_metrics(now)

    def on_frame_lost(self, frame: Outgoing, now: int) -> None:
        self.on_lost(frame.packet_number, now)

    def on_lost(self, packet_number: int, now: int) -> None:
        self.stats.packets_lost += 1
        vantage = self._vantage
        if vantage.sink is not None:
            vantage.sink.emit(PacketLost(now, vantage.host, vantage.connection, packet_number, "pto_expired"))

    def on_state(self, state: str, now: int) -> None:
        vantage = self._vantage
        if vantage.sink is not None:
            vantage.sink.emit(ConnectionStateUpdated(now, vantage.host, vantage.connection, state))

    @property
    def is_all_acked(self) -> bool:
        """CLOSE was said, and everything is acknowledged: CLOSE may be before what it closes."""
        return self.is_close_sent and self.segments_out == 0

    @property
    def is_all_acked_but_close(self) -> bool:
        return self.is_close_sent and self.segments_out == 1 and not self.is_close_acked

    def summary(self) -> TransportStats:
        """The statistics, with the path's estimates as they are now."""
        if self._rtt.has_sample:
            self.stats.smoothed_rtt = self._rtt.smoothed_rtt
            self.stats.min_rtt = self._rtt.min_rtt
        return self.stats

    def _tell_metrics(self, now: int) -> None:
        vantage, stats = self._vantage, self.summary()
        assert vantage.sink is not None
        fact = MetricsUpdated(
            now,
            vantage.host,
            vantage.connection,
            stats.smoothed_rtt,
            stats.min_rtt,
            stats.congestion_window,
            self.bytes_out,
            self._rtt.latest_rtt,
            self._rtt.rttvar,
            0,
        )
        vantage.sink.emit(fact)
