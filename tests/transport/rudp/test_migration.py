"""Migration: a client whose address changes keeps its connection; whoever only claims that it did gains nothing."""

import pytest

from rudp_smtp.datagram import Address
from rudp_smtp.registry import Spec
from rudp_smtp.trace import ListSink, MigrationStateUpdated
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import parse_duration
from rudp_smtp.wire.frames import (
    AckFrame,
    Frame,
    PaddingFrame,
    PathChallengeFrame,
    PathResponseFrame,
    PingFrame,
    StreamFrame,
)
from rudp_smtp.wire.packet import ONE_RTT, Packet, decode_packet, encode_packet
from tests.helpers import Pair, connected_pair
from tests.transport.rudp.puppet import Puppet

HOME, REBOUND, ELSEWHERE = ("10.0.0.1", 4000), ("10.0.0.1", 4001), ("10.9.9.9", 4000)


def pair_at_home(sink: ListSink | None = None, rate: str | None = None) -> Pair:
    pair = connected_pair(client=Rudp(), sink=sink, rate=rate)
    pair.client_address = HOME  # the first move, from "client"
    pair.client.send(b"here I am")
    pair.run_for("1s")
    assert pair.server.transport.stats.migrations == 1
    return pair


def states(sink: ListSink) -> list[str]:
    return [fact.state for fact in sink.facts if isinstance(fact, MigrationStateUpdated)]


def frames_to(pair: Pair, address: Address) -> list[Frame]:
    return [frame for _, data, target in pair.astray if target == address for frame in decode_packet(data).frames]


@pytest.mark.parametrize("address", [REBOUND, ELSEWHERE])
def test_a_transfer_survives_a_new_address_of_the_client(address: Address) -> None:
    sink = ListSink()
    pair = pair_at_home(sink, rate="20mbit")
    pair.client.send(bytes(500_000), fin=True)
    pair.run_for("100ms")
    pair.client_address = address
    pair.run_until(lambda: len(pair.server_received) == 500_009)
    pair.server.send(bytes(300_000), fin=True)
    pair.run_until(lambda: len(pair.client_received) == 300_000)
    assert pair.server.transport.stats.migrations == 2
    assert states(sink) == ["migration_started", "migration_complete"] * 2
    assert pair.client.closed is pair.server.closed is None


def test_a_server_that_is_sending_follows_as_soon_as_an_acknowledgement_comes_from_elsewhere() -> None:
    pair = pair_at_home(rate="20mbit")
    pair.server.send(bytes(2_000_000), fin=True)
    pair.run_for("300ms")
    pair.client_address = REBOUND
    started = pair.now
    pair.run_until(lambda: len(pair.client_received) == 2_000_000)
    assert pair.now - started < parse_duration("1500ms")


def test_another_port_of_the_same_host_keeps_the_window_and_another_host_does_not() -> None:
    windows: dict[Address, tuple[int, int]] = {}
    for address in (REBOUND, ELSEWHERE):
        pair = pair_at_home(rate="20mbit")
        pair.server.send(bytes(1_000_000), fin=True)
        pair.run_until(lambda pair=pair: len(pair.client_received) == 1_000_000)  # type: ignore[misc]
        pair.run_for("1s")
        before = pair.server.transport.stats.congestion_window
        pair.client_address = address
        pair.client.send(b"moved")
        pair.run_for("300ms")
        windows[address] = (before, pair.server.transport.stats.congestion_window)
    assert windows[REBOUND][1] >= windows[REBOUND][0]
    assert windows[ELSEWHERE][1] < windows[ELSEWHERE][0] // 2


def test_a_new_address_gets_at_most_three_times_what_came_from_it_until_it_answers() -> None:
    puppet = Puppet().connect(StreamFrame(0, 0, b"", False))
    data = encode_packet(Packet(ONE_RTT, puppet.server_id, 50, [PingFrame()]))
    sent: dict[Address, int] = {}

    def drain() -> None:
        while (outgoing := puppet.server.next_datagram(puppet.now)) is not None:
            sent[outgoing[1]] = sent.get(outgoing[1], 0) + len(outgoing[0])

    puppet.transport.send(0, bytes(100_000))
    puppet.server.receive_datagram(data, "mallory", puppet.now)
    drain()
    for _ in range(10):
        deadline = puppet.server.next_timeout()
        if deadline is None or deadline > 200 * 10**6:
            break
        puppet.now = max(puppet.now, deadline)
        puppet.server.handle_timeout(puppet.now)
        drain()
    assert 0 < sent["mallory"] <= 3 * len(data)


def test_who_copies_packets_to_us_from_his_own_address_loses_the_connection_again() -> None:
    sink = ListSink()
    pair = pair_at_home(sink)
    del sink.facts[:]
    before = len(pair.forward.sent)
    pair.forward.is_cut = True
    pair.client.send(b"stolen")
    pair.run_for("5ms")
    pair.forward.is_cut = False
    (_, data), *_ = pair.forward.sent[before:]
    pair.inject(pair.server, data, ELSEWHERE)
    assert any(isinstance(frame, PathChallengeFrame) for frame in frames_to(pair, ELSEWHERE))
    pair.run_for("3s")
    assert states(sink) == ["migration_started"]
    given = sum(len(datagram) for _, datagram, target in pair.astray if target == ELSEWHERE)
    assert given <= 3 * len(data)
    pair.server.send(b"still you?")
    pair.run_until(lambda: pair.client_received == b"still you?", limit="1s")


def test_an_address_that_never_answers_is_given_up_for_the_last_that_did() -> None:
    sink = ListSink()
    pair = pair_at_home(sink)
    del sink.facts[:]
    pair.forward.is_cut = True  # the client cannot even object
    pair.client.send(b"stolen")
    pair.run_for("5ms")
    data = pair.forward.sent[-1][1]
    pair.inject(pair.server, data, ELSEWHERE)
    pair.run_for("3s")
    assert states(sink) == ["migration_started", "migration_abandoned"]
    pair.heal()
    pair.server.send(b"still you?")
    pair.run_until(lambda: pair.client_received == b"still you?", limit="1s")


def test_an_old_packet_or_a_copy_from_elsewhere_moves_nobody() -> None:
    pair = pair_at_home()
    copies = [data for _, data in pair.forward.sent if data[0] == ONE_RTT]
    for data in copies:
        pair.inject(pair.server, data, ELSEWHERE)
    assert pair.server.transport.stats.migrations == 1
    assert not frames_to(pair, ELSEWHERE)


def test_a_mere_probe_from_elsewhere_is_answered_there_and_moves_nobody() -> None:
    puppet = Puppet().connect()
    probe = Packet(ONE_RTT, puppet.server_id, 60, [PathChallengeFrame(7), PaddingFrame(1170)])
    puppet.server.receive_datagram(encode_packet(probe), "mallory", puppet.now)
    outgoing = puppet.server.next_datagram(puppet.now)
    assert outgoing is not None
    data, target, _ = outgoing
    assert target == "mallory"
    assert len(data) == 1200
    assert decode_packet(data).frames[0] == PathResponseFrame(7)
    assert puppet.transport.stats.migrations == 0


def test_a_challenge_by_the_usual_way_is_answered_with_more_than_a_probe() -> None:
    puppet = Puppet().connect()
    heard = puppet.say(PathChallengeFrame(99), PaddingFrame(1150))
    assert heard[:2] == [PathResponseFrame(99), PingFrame()]


def test_a_response_nobody_asked_for_changes_nothing() -> None:
    puppet = Puppet().connect()
    puppet.say(PathResponseFrame(1234))
    assert not puppet.close_codes


def test_a_flood_of_challenges_is_answered_a_few_at_a_time() -> None:
    puppet = Puppet().connect()
    heard = puppet.say(*[PathChallengeFrame(token) for token in range(100)])
    assert sum(isinstance(frame, PathResponseFrame) for frame in heard) <= 4


def test_answers_wait_for_room_in_the_window_and_go_first_when_there_is() -> None:
    window = 24_000
    puppet = Puppet(Rudp(pacing=False, congestion=Spec("fixed", (("window", window),)))).connect(
        StreamFrame(0, 0, b"", False)
    )
    puppet.transport.send(0, bytes(200_000))
    puppet.say()
    for token in range(6):
        assert not any(isinstance(frame, PathResponseFrame) for frame in puppet.say(PathChallengeFrame(token)))
    full = [packet.packet_number for packet in puppet.packets if isinstance(packet.frames[-1], StreamFrame)]
    heard = puppet.say(AckFrame([(full[0], full[0] + 2)], 0))
    answers = [frame for frame in heard if isinstance(frame, PathResponseFrame)]
    assert heard[0] == PathResponseFrame(2)  # the oldest of those that are kept
    assert len(answers) <= 4
    assert not any(isinstance(frame, PathResponseFrame) for frame in puppet.say())


def test_who_hops_from_address_to_address_gets_less_than_he_sends() -> None:
    puppet = Puppet().connect()
    sent: dict[Address, int] = {}
    hops = 40
    for hop in range(hops):
        packet = Packet(ONE_RTT, puppet.server_id, 60 + hop, [PingFrame(), PaddingFrame(1100)])
        puppet.server.receive_datagram(encode_packet(packet), ("10.9.9.9", 4000 + hop), puppet.now)
        while (outgoing := puppet.server.next_datagram(puppet.now)) is not None:
            sent[outgoing[1]] = sent.get(outgoing[1], 0) + len(outgoing[0])
    assert sent["client"] == 1200
    assert sum(sent.values()) < 3 * 1200 + hops * 100


def test_a_challenge_of_a_client_that_only_listens_is_repeated_though_it_said_little() -> None:
    """Three times a bare acknowledgement is no full datagram: padding would use all up for one that may be lost."""
    pair = pair_at_home(rate="20mbit")
    pair.server.send(bytes(40_000), stream_id=pair.server.open_stream())
    pair.run_for("20ms")
    pair.client_address = REBOUND
    pair.reverse.loses = lambda index, size, ecn: True
    before = pair.reverse.count
    pair.run_until(lambda: pair.server.transport.stats.migrations == 2)
    pair.forward.is_cut = True  # but one acknowledgement that came through
    pair.run_for("300ms")
    lost = [decode_packet(data).frames for _, data in pair.reverse.sent[before:]]
    assert sum(isinstance(frames[0], PathChallengeFrame) for frames in lost) >= 2
    pair.forward.is_cut = False
    pair.reverse.loses = lambda index, size, ecn: False
    pair.run_until(lambda: len(pair.client_received) == 40_000, limit="5s")


def test_a_client_takes_nothing_from_a_server_elsewhere() -> None:
    pair = connected_pair()
    pair.server.send(b"x", stream_id=pair.server.transport.open_stream())
    pair.run_for("5ms")
    before = pair.client.endpoint.total_stats().packets_dropped
    pair.inject(pair.client, pair.reverse.sent[-1][1], "mallory")
    assert pair.client.endpoint.total_stats().packets_dropped == before + 1


def test_octets_from_elsewhere_that_are_nonsense_end_nothing() -> None:
    puppet = Puppet().connect()
    data = encode_packet(Packet(ONE_RTT, puppet.server_id, 70, [PingFrame()]))
    broken = bytes([*data[:17], 0x3F, *data[18:-4]])
    puppet.server.receive_datagram(broken + bytes(4), "mallory", puppet.now)
    assert puppet.say() == []
    assert not puppet.close_codes
