"""Books: what passed between a connection and its path, as statistics and as facts."""

from rudp_smtp.trace import PacketDropped, PacketReceived, PacketSent, VantagePoint
from rudp_smtp.transport import TransportStats

Range = tuple[int, int, int]  # stream ID, first octet, end


class Books:
    """Owns the statistics. Numbers in facts count datagrams, of those sent and of those received."""

    __slots__ = ("_vantage", "stats")

    def __init__(self, vantage: VantagePoint, stats: TransportStats) -> None:
        self.stats = stats
        self._vantage = vantage

    def on_sent(
        self,
        size: int,
        now: int,
        *,
        is_ack_eliciting: bool,
        streams: tuple[Range, ...] = (),
        is_retransmission: bool = False,
    ) -> None:
        stats, vantage = self.stats, self._vantage
        if vantage.sink is not None:
            fact = PacketSent(
                now,
                vantage.host,
                vantage.connection,
                stats.packets_sent,
                size,
                is_ack_eliciting,
                streams,
                is_retransmission,
                False,
            )
            vantage.sink.emit(fact)
        stats.packets_sent += 1
        stats.bytes_sent += size
        if size > stats.datagram_size:
            stats.datagram_size = size

    def on_received(self, size: int, now: int) -> None:
        stats, vantage = self.stats, self._vantage
        if vantage.sink is not None:
            vantage.sink.emit(PacketReceived(now, vantage.host, vantage.connection, stats.packets_received, size))
        stats.packets_received += 1
        stats.bytes_received += size

    def on_dropped(self, size: int, trigger: str, now: int) -> None:
        self.stats.packets_dropped += 1
        self.stats.packets_duplicate += trigger == "duplicate"
        if self._vantage.sink is not None:
            self._vantage.sink.emit(PacketDropped(now, self._vantage.host, size, trigger))
