"""The books, kept a second time from the facts alone: what is in flight, what became of it, and the window."""

from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.recovery.congestion import initial_window
from rudp_smtp.registry import Spec
from rudp_smtp.trace import ListSink, MetricsUpdated, PacketAcked, PacketLost, PacketSent, SpuriousLoss
from rudp_smtp.transport.rudp import Rudp
from tests.helpers import connected_pair

MAX_DATAGRAM_SIZE = Rudp().max_datagram_size
FATES = 400  # datagrams each way whose fate is drawn; enough for all of a run but its end


@dataclass
class Books:
    """What one connection sent and what became of it."""

    window: int = initial_window(MAX_DATAGRAM_SIZE)
    in_flight: dict[int, int] = field(default_factory=dict)  # packet number -> octets
    lost: set[int] = field(default_factory=set)
    acked: set[int] = field(default_factory=set)
    spurious: set[int] = field(default_factory=set)

    def on_sent(self, fact: PacketSent) -> None:
        if not fact.is_ack_eliciting:
            return
        self.in_flight[fact.packet_number] = fact.size
        assert fact.is_probe or sum(self.in_flight.values()) <= self.window, fact

    def on_metrics(self, fact: MetricsUpdated) -> None:
        self.window = fact.congestion_window
        assert fact.bytes_in_flight == sum(self.in_flight.values()), fact


def keep_books(sink: ListSink) -> dict[tuple[str, int], Books]:
    all_books: defaultdict[tuple[str, int], Books] = defaultdict(Books)
    for fact in sink.facts:
        match fact:
            case PacketSent():
                all_books[fact.host, fact.connection].on_sent(fact)
            case PacketAcked():
                books = all_books[fact.host, fact.connection]
                books.in_flight.pop(fact.packet_number, None)  # None: it was a bare acknowledgement
                books.acked.add(fact.packet_number)
            case PacketLost():
                books = all_books[fact.host, fact.connection]
                del books.in_flight[fact.packet_number]
                books.lost.add(fact.packet_number)
            case SpuriousLoss():
                books = all_books[fact.host, fact.connection]
                assert fact.packet_number in books.lost
                books.spurious.add(fact.packet_number)
            case MetricsUpdated():
                all_books[fact.host, fact.connection].on_metrics(fact)
            case _:
                pass
    return all_books


@settings(max_examples=25, deadline=None)
@given(
    lost=st.tuples(*[st.sets(st.integers(0, FATES), max_size=40) for _ in range(2)]),
    late=st.sets(st.integers(0, FATES), max_size=20),
    controller=st.sampled_from(["cubic", "new_reno"]),
    timer=st.sampled_from(["pto", "rfc6298"]),
)
def test_nothing_but_a_probe_leaves_beyond_the_window_and_every_packet_has_one_end(
    lost: tuple[set[int], set[int]], late: set[int], controller: str, timer: str
) -> None:
    sink = ListSink()
    transport = Rudp(congestion=Spec(controller), timer=Spec(timer))
    pair = connected_pair(delay="10ms", rate="10mbit", client=transport, sink=sink)
    pair.connect()  # a second connection through the same bottleneck
    for way, indexes in zip((pair.forward, pair.reverse), lost, strict=True):
        way.hold_back(late, by="15ms")
        way.drop(indexes)
    for connection in pair.client.transports:
        connection.send(connection.open_stream(), bytes(60_000), True)
    pair.server.send(bytes(60_000), True)
    pair.run_until_idle()
    all_books = keep_books(sink)
    assert len(all_books) == 4
    for books in all_books.values():
        assert not books.in_flight
        assert not books.acked & books.lost
    for side in (pair.client, pair.server):
        stats = side.endpoint.total_stats()
        mine = [books for (host, _), books in all_books.items() if host == side.name]
        assert stats.packets_acked == sum(len(books.acked) for books in mine)
        assert stats.packets_lost == sum(len(books.lost) for books in mine)
        assert stats.packets_spurious == sum(len(books.spurious) for books in mine)
    assert pair.client.endpoint.total_stats().stream_bytes_sent == 120_000
    assert pair.server.endpoint.total_stats().stream_bytes_delivered == 120_000
