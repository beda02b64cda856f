"""Losses repaired, reordering suffered, statistics that add up, memory that stays flat."""

import tracemalloc

from rudp_smtp.registry import Spec
from rudp_smtp.trace import ListSink, PacketDropped, PacketLost, PacketReceived, PacketSent
from rudp_smtp.transport import StreamData, StreamWritable
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import MILLISECOND
from rudp_smtp.wire.frames import AckFrame
from rudp_smtp.wire.packet import decode_packet
from tests.helpers import connected_pair, make_pair


def test_tail_loss_is_repaired_by_one_probe() -> None:
    pair = connected_pair(delay="20ms")
    pair.client.send(b"last words", fin=True)
    pair.drop_next(1)
    pair.run_until_idle()
    assert pair.server_received == b"last words"
    assert pair.probes_sent == 1


def test_a_second_loss_in_a_row_is_met_with_two_probes_that_carry_the_octets() -> None:
    sink = ListSink()
    pair = connected_pair(delay="20ms", sink=sink)
    pair.client.send(b"last words", fin=True)
    pair.drop_next(2)
    pair.run_until_idle()
    assert pair.server_received == b"last words"
    probes = [fact for fact in sink.facts if isinstance(fact, PacketSent) and fact.is_probe]
    assert [fact.streams for fact in probes] == [((0, 0, 10),)] * 3


def test_a_loss_in_the_middle_is_found_by_what_came_after_and_needs_no_probe() -> None:
    sink = ListSink()
    pair = connected_pair(delay="20ms", rate="20mbit", sink=sink)
    pair.client.send(bytes(40_000), fin=True)
    pair.forward.drop([pair.forward.count + 3])
    pair.run_until_idle()
    assert len(pair.server_received) == 40_000
    assert pair.probes_sent == 0
    assert [fact.trigger for fact in sink.facts if isinstance(fact, PacketLost)] == ["reordering_threshold"]
    assert pair.client.transport.stats.stream_bytes_retransmitted < 1472


def test_lost_acknowledgements_cost_nothing() -> None:
    pair = connected_pair(delay="20ms", rate="20mbit")
    pair.client.send(bytes(100_000), fin=True)
    first = pair.reverse.count
    pair.reverse.drop(range(first, first + 24, 2))
    pair.run_until_idle()
    assert len(pair.server_received) == 100_000
    assert pair.client.transport.stats.stream_bytes_retransmitted == 0


def test_a_late_packet_thought_lost_is_recognised_and_not_sent_a_third_time() -> None:
    pair = connected_pair(delay="20ms", rate="20mbit")
    pair.client.send(bytes(40_000), fin=True)
    pair.forward.hold_back([pair.forward.count + 3], by="15ms")
    pair.run_until_idle()
    stats = pair.client.transport.stats
    assert len(pair.server_received) == 40_000
    assert stats.packets_lost == stats.packets_spurious == 1
    assert stats.stream_bytes_retransmitted < 1472


def test_copies_are_counted_and_change_nothing() -> None:
    sink = ListSink()
    pair = connected_pair(sink=sink)
    pair.client.send(b"once", fin=True)
    pair.forward.duplicate([pair.forward.count])
    pair.run_until_idle()
    assert pair.server_received == b"once"
    assert pair.server.transport.stats.packets_duplicate == 1
    assert [fact.trigger for fact in sink.facts if isinstance(fact, PacketDropped)] == ["duplicate"]


def test_damage_is_seen_and_repaired() -> None:
    pair = connected_pair()
    pair.client.send(bytes(5000), fin=True)
    pair.forward.corrupt([pair.forward.count + 1])
    pair.run_until_idle()
    assert pair.server_received == bytes(5000)
    assert pair.server.endpoint.total_stats().packets_dropped == 1


def test_octets_of_one_stream_do_not_wait_for_those_of_another() -> None:
    pair = connected_pair(delay="20ms", rate="20mbit")
    first, second = pair.client.open_stream(), pair.client.open_stream()
    pair.forward.drop([pair.forward.count])  # the first stream's first octets
    pair.client.send(b"a" * 6_000, fin=True, stream_id=first)
    pair.client.send(b"b" * 6_000, fin=True, stream_id=second)
    pair.run_until(lambda: second in pair.server.finished)
    assert pair.server.received(first) == b""


def test_streams_take_turns() -> None:
    pair = connected_pair(delay="20ms", rate="10mbit")
    streams = [pair.client.open_stream() for _ in range(4)]
    for stream_id in streams:
        pair.client.send(bytes(200_000), fin=True, stream_id=stream_id)
    pair.run_until(lambda: len(pair.server.received(streams[0])) >= 100_000)
    shares = [len(pair.server.received(stream_id)) for stream_id in streams]
    assert max(shares) - min(shares) <= 2 * 1472


def test_small_ranges_of_many_streams_share_a_packet() -> None:
    pair = connected_pair()
    before = pair.forward.count
    for _ in range(20):
        pair.client.send(b"note", fin=True, stream_id=pair.client.open_stream())
    pair.run_until_idle()
    assert len(pair.server.finished) == 20
    assert pair.forward.count - before <= 2


def test_every_packet_and_octet_is_accounted_for() -> None:
    sink = ListSink()
    pair = connected_pair(delay="20ms", rate="20mbit", sink=sink)
    pair.client.send(bytes(200_000), fin=True)
    first = pair.forward.count
    pair.forward.drop(range(first, first + 100, 9))
    pair.forward.duplicate(range(first + 1, first + 100, 9))
    pair.forward.corrupt(range(first + 2, first + 100, 9))
    pair.run_until_idle()
    client, server = pair.client.endpoint.total_stats(), pair.server.endpoint.total_stats()
    lost = len([index for index in range(first, first + 100, 9) if index < pair.forward.count])
    copies = len([index for index in range(first + 1, first + 100, 9) if index < pair.forward.count])
    damaged = len([index for index in range(first + 2, first + 100, 9) if index < pair.forward.count])
    assert client.packets_sent == pair.forward.count
    assert client.bytes_sent == sum(len(data) for _, data in pair.forward.sent)
    assert server.packets_received == client.packets_sent - lost - damaged
    assert server.packets_duplicate == copies
    assert server.packets_dropped == copies + damaged
    assert server.stream_bytes_delivered == client.stream_bytes_sent == 200_000
    assert client.packets_lost == lost + damaged
    assert client.packets_spurious == 0
    bare = [data for _, data in pair.reverse.sent if all(isinstance(f, AckFrame) for f in decode_packet(data).frames)]
    assert server.acks_sent == len(bare) > 0
    assert client.smoothed_rtt >= client.min_rtt >= 40 * MILLISECOND
    sent = [fact for fact in sink.facts if isinstance(fact, PacketSent) and fact.host == "client"]
    received = [fact for fact in sink.facts if isinstance(fact, PacketReceived) and fact.host == "server"]
    assert (len(sent), len(received)) == (client.packets_sent, server.packets_received)
    assert [fact.packet_number for fact in sent] == list(range(len(sent)))
    carried = sum(stop - start for fact in sent for _, start, stop in fact.streams)
    assert carried == client.stream_bytes_sent + client.stream_bytes_retransmitted
    again = [fact for fact in sent if fact.is_retransmission]
    assert len(again) >= lost + damaged


def test_a_listener_changes_nothing() -> None:
    pairs = [connected_pair(rate="20mbit", sink=sink) for sink in (None, ListSink())]
    for pair in pairs:
        pair.client.send(bytes(100_000), fin=True)
        pair.forward.drop(range(10, 60, 7))
        pair.run_until_idle()
    assert pairs[0].forward.sent == pairs[1].forward.sent
    assert pairs[0].reverse.sent == pairs[1].reverse.sent


def test_a_polite_sender_is_told_when_there_is_room() -> None:
    pair = connected_pair(delay="20ms", rate="50mbit")
    stream_id = pair.client.open_stream()
    left = 3_000_000
    most = 0

    def feed() -> None:
        nonlocal left, most
        while left and pair.client.transport.unsent_bytes(stream_id) < 200_000:
            left -= 50_000
            pair.client.send(bytes(50_000), fin=left == 0, stream_id=stream_id)
        most = max(most, pair.client.transport.unsent_bytes(stream_id))

    pair.client.application = lambda transport, event: feed() if isinstance(event, StreamWritable) else None
    feed()
    pair.run_until_idle()
    assert len(pair.server_received) == 3_000_000
    assert most <= 250_000


def test_a_large_transfer_needs_no_more_memory_than_its_windows() -> None:
    transport = Rudp(congestion=Spec("unlimited"), connection_window=1 << 19, stream_window=1 << 19)
    pair = make_pair(delay="10ms", rate="100mbit", client=transport)
    pair.connect()
    stream_id = pair.client.open_stream()
    left, got = 10_000_000, 0

    def feed() -> None:
        nonlocal left
        while left and pair.client.transport.unsent_bytes(stream_id) < 250_000:
            left -= 50_000
            pair.client.transport.send(stream_id, bytes(50_000), left == 0)

    def consume(event: object) -> None:
        nonlocal got
        if isinstance(event, StreamData):
            got += len(event.data)
            pair.server.octets.clear()
            pair.server.events.clear()

    pair.forward.is_kept = pair.reverse.is_kept = False
    pair.forward.drop(range(50, 8000, 200))
    pair.client.application = lambda transport, event: feed() if isinstance(event, StreamWritable) else None
    pair.server.application = lambda transport, event: consume(event)
    tracemalloc.start()
    feed()
    pair.run_until(lambda: got == 10_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6_000_000
