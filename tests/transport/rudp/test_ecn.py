"""ECN: marks are counted and reported, believed only where the path keeps them, and obeyed (RFC 9000 s13.4)."""

from rudp_smtp.datagram import CE, ECT_0, ECT_1, NOT_ECT
from rudp_smtp.registry import Spec
from rudp_smtp.trace import EcnStateUpdated, ListSink
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.wire.frames import AckFrame, PaddingFrame, PingFrame, StreamFrame
from rudp_smtp.wire.packet import ONE_RTT, Packet, decode_packet, encode_packet
from tests.helpers import Pair, make_pair
from tests.transport.rudp.puppet import Puppet

MARKING = Rudp(ecn=True)


def watch(pair: Pair) -> list[int]:
    """The codepoints of the client's datagrams, as they leave."""
    seen: list[int] = []

    def note(index: int, size: int, ecn: int) -> bool:
        seen.append(ecn)
        return False

    pair.forward.loses = note
    return seen


def states(sink: ListSink, host: str = "client") -> list[str]:
    return [fact.state for fact in sink.facts if isinstance(fact, EcnStateUpdated) and fact.host == host]


def acks(pair: Pair) -> list[AckFrame]:
    frames = [frame for _, data in pair.reverse.sent for frame in decode_packet(data).frames]
    return [frame for frame in frames if isinstance(frame, AckFrame)]


def test_nothing_is_marked_where_the_scenario_does_not_ask_for_it() -> None:
    pair = make_pair(client=Rudp(ecn=False))
    seen = watch(pair)
    pair.connect()
    pair.client.send(bytes(100_000), fin=True)
    pair.run_until_idle()
    assert set(seen) == {NOT_ECT}
    assert {frame.ecn for frame in acks(pair)} == {None}


def test_a_path_that_keeps_marks_is_found_capable_and_everything_is_marked() -> None:
    sink = ListSink()
    pair = make_pair(client=MARKING, sink=sink, rate="20mbit")
    seen = watch(pair)
    pair.connect()
    pair.client.send(bytes(200_000), fin=True)
    pair.run_until_idle()
    assert states(sink) == ["testing", "capable"]
    assert set(seen[60:]) == {ECT_0}
    last = acks(pair)[-1].ecn
    assert last is not None
    assert (
        seen.count(ECT_0) - 2 <= last[0] <= seen.count(ECT_0)
    )  # the last packet acknowledges the last acknowledgement
    assert last[1:] == (0, 0)


def test_only_ten_packets_are_marked_before_the_first_verdict() -> None:
    wide = Rudp(ecn=True, pacing=False, congestion=Spec("fixed", (("window", 50_000),)))
    puppet = Puppet(wide).connect(StreamFrame(0, 0, b"", False))
    puppet.transport.send(0, bytes(100_000))
    seen: list[int] = []
    while (outgoing := puppet.server.next_datagram(puppet.now)) is not None:
        seen.append(outgoing[2])
    assert len(seen) > 20
    assert seen.count(ECT_0) <= 10
    assert set(seen[10:]) == {NOT_ECT}


def test_a_path_that_clears_marks_fails_the_test_and_nothing_is_marked_any_more() -> None:
    sink = ListSink()
    pair = make_pair(client=MARKING, sink=sink)
    seen = watch(pair)
    pair.forward.remarks = {ECT_0: NOT_ECT}
    pair.connect()
    pair.client.send(bytes(200_000), fin=True)
    pair.run_until_idle()
    assert states(sink)[-1] == "failed"
    assert set(seen[60:]) == {NOT_ECT}
    assert len(pair.server_received) == 200_000


def test_a_path_that_turns_marks_into_others_fails_the_test() -> None:
    sink = ListSink()
    pair = make_pair(client=MARKING, sink=sink)
    pair.forward.remarks = {ECT_0: ECT_1}
    pair.connect()
    pair.client.send(bytes(50_000), fin=True)
    pair.run_until_idle()
    assert states(sink)[-1] == "failed"


def test_a_path_that_begins_to_clear_marks_is_found_out_later() -> None:
    sink = ListSink()
    pair = make_pair(client=MARKING, sink=sink, rate="20mbit")
    pair.connect()
    pair.client.send(bytes(1_000_000), fin=True)
    pair.run_for("200ms")
    assert states(sink)[-1] == "capable"
    pair.forward.remarks = {ECT_0: NOT_ECT}
    pair.run_until_idle()
    assert states(sink)[-1] == "failed"


def test_a_path_that_drops_what_is_marked_is_used_unmarked() -> None:
    pair = make_pair(client=MARKING)
    pair.forward.loses = lambda index, size, ecn: ecn != NOT_ECT
    pair.connect()
    pair.client.send(bytes(100_000), fin=True)
    pair.run_until(lambda: len(pair.server_received) == 100_000, limit="5s")


def test_a_mark_of_congestion_reduces_the_window_once_a_round_trip_and_loses_nothing() -> None:
    pair = make_pair(client=Rudp(ecn=True, congestion=Spec("cubic")), rate="20mbit")
    pair.connect()
    pair.client.send(bytes(2_000_000), fin=True)
    pair.run_for("300ms")
    windows = [pair.client.transport.stats.congestion_window]
    pair.forward.remarks = {ECT_0: CE}
    while pair.client.transport.stats.ecn_marked < 20:
        pair.run_for("1ms")
        windows.append(pair.client.transport.stats.congestion_window)
    assert max(windows) * 0.5 <= windows[-1] < max(windows) * 0.9
    assert pair.client.transport.stats.packets_lost == 0


def test_a_mark_of_congestion_is_acknowledged_at_once() -> None:
    puppet = Puppet().connect()
    puppet.say(StreamFrame(0, 0, b"a", False))
    puppet.wait(10**9)
    data = encode_packet(Packet(ONE_RTT, puppet.server_id, 50, [PingFrame()]))
    puppet.server.receive_datagram(data, "client", puppet.now, CE)
    (ack,) = [frame for frame in puppet.say() if isinstance(frame, AckFrame)]
    assert ack.ecn == (0, 0, 1)


def test_every_codepoint_has_its_own_count() -> None:
    puppet = Puppet().connect()
    for number, ecn in enumerate([ECT_0, ECT_0, ECT_1, CE, NOT_ECT], start=50):
        data = encode_packet(Packet(ONE_RTT, puppet.server_id, number, [PingFrame()]))
        puppet.server.receive_datagram(data, "client", puppet.now, ecn)
        puppet.server.receive_datagram(data, "client", puppet.now, ecn)  # a copy does not count
    heard = [frame for frame in puppet.wait(10**9) + puppet.heard if isinstance(frame, AckFrame)]
    assert heard[0].ecn == (2, 1, 1)


def test_counts_that_shrink_or_exceed_what_was_marked_end_the_marking() -> None:
    for lie in ((1000, 0, 0), (0, 0, 0), (0, 5, 0)):
        sink = ListSink()
        puppet = Puppet(MARKING, sink=sink).connect(StreamFrame(0, 0, b"", False))
        puppet.transport.send(0, bytes(5000))
        heard = puppet.say(PaddingFrame(1))
        assert any(isinstance(frame, StreamFrame) for frame in heard)
        largest = max(packet.packet_number for packet in puppet.packets)
        puppet.say(AckFrame([(0, largest + 1)], 0, lie))
        assert states(sink, "server")[-1] == "failed"
        assert not puppet.close_codes
