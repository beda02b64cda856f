"""A known server hears what is safe to hear twice one round trip earlier, once; the application never notices."""

from itertools import product

import pytest

from rudp_smtp.errors import ErrorCode
from rudp_smtp.registry import Spec
from rudp_smtp.transport import Established, Event, StreamData, StreamOpened, Transport
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import MILLISECOND, SECOND
from rudp_smtp.wire.frames import Frame, HelloFrame, PaddingFrame, PingFrame, StreamFrame, TokenFrame
from rudp_smtp.wire.packet import INITIAL, Packet, decode_packet, encode_packet
from tests.helpers import Pair, make_pair
from tests.transport.rudp.puppet import LIMITS, Puppet, connections_of
from tests.transport.rudp.test_hostile_server import PuppetServer

RESUMING = Rudp(resumption=True)
FORGETFUL = Rudp(resumption=False)
EHLO = b"EHLO client.example\r\n"
GREETING = b"220 mail.example ready\r\n"
REPLY = b"250 mail.example\r\n"


class Dialogues:
    """Owns what each side read on each connection. The server greets every stream and answers every octet once."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.heard: dict[Transport, bytes] = {}  # by the client, of stream 0
        self.obeyed: dict[Transport, bytes] = {}  # by the server
        pair.client.application = self.listen
        pair.server.application = self.serve

    def listen(self, transport: Transport, event: Event) -> None:
        if isinstance(event, StreamData):
            self.heard[transport] = self.heard.get(transport, b"") + event.data

    def serve(self, transport: Transport, event: Event) -> None:
        if isinstance(event, StreamOpened):
            transport.send(event.stream_id, GREETING)
        if isinstance(event, StreamData):
            self.obeyed[transport] = self.obeyed.get(transport, b"") + event.data
            transport.send(event.stream_id, REPLY)

    def call(self, octets: bytes = EHLO, *, is_replay_safe: bool = True, fin: bool = False) -> Transport:
        """Connect and say something before the handshake is complete."""
        transport = self.pair.connect()
        transport.send(transport.open_stream(), octets, fin, is_replay_safe=is_replay_safe)
        return transport

    def run_until_heard(self, transport: Transport, octets: bytes = GREETING + REPLY) -> int:
        """Wait for the server's words; how long it took, in milliseconds."""
        start = self.pair.now
        self.pair.run_until(lambda: self.heard.get(transport) == octets)
        return (self.pair.now - start) // MILLISECOND

    @property
    def last_obeyed(self) -> bytes:
        """What the server read on the connection it heard of last."""
        return list(self.obeyed.values())[-1]


def acquainted(
    client: Rudp = RESUMING, server: Rudp = RESUMING, delay: str = "20ms", seed: int = 1
) -> tuple[Pair, Dialogues]:
    """Two hosts that have met: the client has a ticket, and nothing is in flight."""
    pair = make_pair(client=client, server=server, delay=delay, seed=seed)
    pair.connect()
    pair.run_until_idle()
    return pair, Dialogues(pair)


def first_frames(pair: Pair, since: int) -> list[StreamFrame]:
    """The STREAM frames of the client's datagram number `since`."""
    return [frame for frame in decode_packet(pair.forward.sent[since][1]).frames if isinstance(frame, StreamFrame)]


def test_a_known_server_answers_the_first_words_after_one_round_trip() -> None:
    pair, dialogues = acquainted(delay="20ms")
    transport = dialogues.call()
    assert dialogues.run_until_heard(transport) == 40
    pair.run_until_idle()
    assert dialogues.last_obeyed == EHLO


def test_an_unknown_server_answers_them_after_two() -> None:
    pair = make_pair(client=RESUMING, delay="20ms")
    dialogues = Dialogues(pair)
    assert dialogues.run_until_heard(dialogues.call()) == 80


@pytest.mark.parametrize(("client", "server"), [(FORGETFUL, RESUMING), (RESUMING, FORGETFUL)])
def test_either_side_may_do_without(client: Rudp, server: Rudp) -> None:
    pair, dialogues = acquainted(client, server)
    start = pair.forward.count
    assert dialogues.run_until_heard(dialogues.call()) == 80
    assert not any(isinstance(frame, TokenFrame) for frame in decode_packet(pair.forward.sent[start][1]).frames)


def test_octets_not_called_safe_never_ride() -> None:
    pair, dialogues = acquainted()
    start = pair.forward.count
    transport = dialogues.call(b"MAIL FROM:<>\r\n", is_replay_safe=False)
    transport.send(0, EHLO, is_replay_safe=True)  # behind others that are not safe
    assert dialogues.run_until_heard(transport) == 80
    assert [frame.data for frame in first_frames(pair, start)] == [b""]


def test_of_a_stream_only_the_safe_beginning_rides() -> None:
    pair, dialogues = acquainted()
    start = pair.forward.count
    transport = dialogues.call()
    transport.send(0, b"NOOP\r\n", is_replay_safe=True)
    transport.send(0, b"MAIL FROM:<>\r\n", True)
    pair.run_until_idle()
    assert first_frames(pair, start) == [StreamFrame(0, 0, EHLO + b"NOOP\r\n", False)]
    assert dialogues.last_obeyed == EHLO + b"NOOP\r\nMAIL FROM:<>\r\n"


def test_the_first_flight_stays_one_datagram_however_much_is_safe() -> None:
    pair, dialogues = acquainted()
    start = pair.forward.count
    transport = dialogues.call(bytes(range(250)) * 40, fin=True)
    pair.run_for("1ms")
    assert [len(data) for _, data in pair.forward.sent[start:]] == [1200]
    pair.run_until_idle()
    assert dialogues.last_obeyed == bytes(range(250)) * 40
    assert transport.stats.stream_bytes_sent == 10_000
    assert transport.stats.stream_bytes_retransmitted == 0


def test_a_whole_stream_may_ride_to_its_end() -> None:
    pair, dialogues = acquainted()
    start = pair.forward.count
    transport = dialogues.call(b"all of it", fin=True)
    dialogues.run_until_heard(transport)
    assert first_frames(pair, start) == [StreamFrame(0, 0, b"all of it", True)]
    assert sum(event.is_fin for event in pair.server.told(StreamData) if isinstance(event, StreamData)) == 1


def test_several_streams_may_ride() -> None:
    pair, dialogues = acquainted()
    start = pair.forward.count
    transport = pair.connect()
    for number in range(3):
        transport.send(transport.open_stream(), b"stream %d" % number, is_replay_safe=True)
    silent = transport.open_stream()
    pair.run_until_idle()
    said = [(frame.stream_id, frame.data) for frame in first_frames(pair, start)]
    assert said == [(0, b"stream 0"), (4, b"stream 1"), (8, b"stream 2"), (silent, b"")]
    assert dialogues.last_obeyed == b"stream 0stream 1stream 2"


def test_a_ticket_is_used_once_and_every_connection_brings_another() -> None:
    _, dialogues = acquainted()
    first, second = dialogues.call(), dialogues.call()
    assert dialogues.run_until_heard(first) == 40
    assert dialogues.run_until_heard(second) == 40  # more: two round trips in all
    dialogues.pair.run_until_idle()
    third, fourth = dialogues.call(), dialogues.call()
    assert dialogues.run_until_heard(third) == 40
    assert dialogues.run_until_heard(fourth) == 0


def test_a_server_that_lost_its_secret_takes_nothing_early_and_the_octets_are_said_again() -> None:
    met, _ = acquainted(seed=1)
    stranger = make_pair(server=RESUMING, seed=2)
    pair = Pair(met.client.endpoint, stranger.server.endpoint)
    pair.now = met.now
    dialogues = Dialogues(pair)
    transport = dialogues.call()
    assert dialogues.run_until_heard(transport) == 80
    pair.run_until_idle()
    assert dialogues.last_obeyed == EHLO
    assert transport.stats.stream_bytes_sent == transport.stats.stream_bytes_retransmitted == len(EHLO)
    again = dialogues.call()
    assert dialogues.run_until_heard(again) == 40


def test_early_octets_wait_behind_a_retry() -> None:
    met, _ = acquainted(seed=1)
    stranger = make_pair(server=Rudp(resumption=True, retry="always"), seed=2)
    pair = Pair(met.client.endpoint, stranger.server.endpoint)
    pair.now = met.now
    dialogues = Dialogues(pair)
    transport = dialogues.call()
    assert dialogues.run_until_heard(transport) == 120
    assert dialogues.last_obeyed == EHLO


def test_a_ticket_proves_the_address() -> None:
    met = Rudp(resumption=True, retry="always")
    pair, dialogues = acquainted(server=met)
    pair.server.application = lambda transport, event: (
        transport.send(event.stream_id, bytes(8000)) if isinstance(event, StreamOpened) else None
    )
    retries = pair.reverse.count
    transport = dialogues.call()
    assert dialogues.run_until_heard(transport, bytes(8000)) == 40
    assert decode_packet(pair.reverse.sent[retries][1]).kind == INITIAL


@pytest.mark.parametrize("lost", list(product([0, 1], repeat=6)))
def test_any_loss_among_the_first_packets_is_repaired(lost: tuple[int, ...]) -> None:
    pair, dialogues = acquainted()
    forward, reverse = pair.forward.count, pair.reverse.count
    pair.forward.drop([forward + index for index in range(3) if lost[index]])
    pair.reverse.drop([reverse + index for index in range(3) if lost[3 + index]])
    transport = dialogues.call()
    transport.send(0, b"MAIL", True)
    pair.run_until_idle()
    assert dialogues.last_obeyed == EHLO + b"MAIL"
    assert dialogues.heard[transport].startswith(GREETING + REPLY)
    assert connections_of(pair.server) == 2


@pytest.mark.parametrize("late", [0, 1])
def test_copies_and_reordering_change_nothing(late: int) -> None:
    pair, dialogues = acquainted()
    pair.forward.duplicate([pair.forward.count, pair.forward.count + 1], by="300ms")
    pair.reverse.hold_back([pair.reverse.count + late], by="70ms")
    transport = dialogues.call(EHLO)
    pair.run_until_idle()
    assert dialogues.last_obeyed == EHLO
    assert dialogues.heard[transport] == GREETING + REPLY


def test_octets_written_after_the_first_flight_wait_for_the_hello() -> None:
    pair, dialogues = acquainted()
    start = pair.forward.count
    pair.forward.drop([start])
    transport = dialogues.call()
    pair.run_for("10ms")
    transport.send(0, b"NOOP\r\n", is_replay_safe=True)
    pair.run_until_idle()
    assert first_frames(pair, start) == first_frames(pair, start + 1) == [StreamFrame(0, 0, EHLO, False)]
    assert dialogues.last_obeyed == EHLO + b"NOOP\r\n"


@pytest.mark.parametrize("is_known", [True, False])
def test_a_stream_reset_behind_its_first_flight_ends_where_it_was(is_known: bool) -> None:
    met, _ = acquainted()
    pair = met if is_known else Pair(met.client.endpoint, make_pair(server=RESUMING, seed=2).server.endpoint)
    pair.now = met.now
    dialogues = Dialogues(pair)
    transport = dialogues.call()
    pair.run_for("10ms")
    transport.reset_stream(0, 9)
    later = transport.open_stream()
    transport.send(later, b"still here", True)
    pair.run_until_idle()
    assert dialogues.last_obeyed.endswith(b"still here")
    assert dialogues.heard[transport]


def test_a_connection_closed_at_once_delivers_what_it_said() -> None:
    pair, dialogues = acquainted()
    transport = dialogues.call(fin=True)
    transport.close(pair.now)
    pair.run_until_idle()
    assert dialogues.last_obeyed == EHLO


def test_both_sides_are_told_of_the_handshake_once_per_connection() -> None:
    pair, dialogues = acquainted()
    dialogues.call()
    pair.run_until_idle()
    assert len(pair.client.told(Established)) == len(pair.server.told(Established)) == 2


def test_what_a_resumed_connection_does_depends_on_the_draws_alone() -> None:
    runs = []
    for _ in range(2):
        pair, dialogues = acquainted()
        dialogues.call()
        pair.run_until_idle()
        runs.append((pair.forward.sent, pair.reverse.sent))
    assert runs[0] == runs[1]


def test_a_lost_first_flight_to_a_known_server_is_repeated_after_three_of_its_round_trips() -> None:
    pair, dialogues = acquainted(Rudp(resumption=True, timer=Spec("pto")), delay="5ms")
    pair.forward.drop([pair.forward.count])
    assert 35 <= dialogues.run_until_heard(dialogues.call()) <= 45


def test_no_copy_of_a_first_flight_is_wasted_on_a_known_server_that_is_far() -> None:
    _, dialogues = acquainted(delay="400ms")
    transport = dialogues.call()
    assert dialogues.run_until_heard(transport) == 800
    assert transport.stats.probes_sent == 0


# A client that cheats


def ticket_of(puppet: Puppet) -> bytes:
    """What a server gives a client that has proven its address."""
    puppet.connect()
    return next(frame.token for frame in puppet.heard if isinstance(frame, TokenFrame))


def early_octets(puppet: Puppet) -> bytes:
    return b"".join(event.data for event in puppet.events if isinstance(event, StreamData))


def octets_to(puppet: Puppet, client_id: int) -> int:
    return sum(len(encode_packet(packet)) for packet in puppet.packets if packet.destination_connection_id == client_id)


def taken(puppet: Puppet) -> list[bool]:
    return [frame.is_early_data_taken for frame in puppet.heard if isinstance(frame, HelloFrame)]


def test_a_replayed_ticket_brings_nothing_in_and_proves_nothing() -> None:
    puppet = Puppet(RESUMING)
    ticket = ticket_of(puppet)
    for source in (20, 21, 22):
        frames = TokenFrame(ticket), LIMITS, StreamFrame(0, 0, b"EHLO", False), PingFrame()
        puppet.say_initial(*frames, source=source)
    assert taken(puppet) == [False, True, False, False]
    assert early_octets(puppet) == b"EHLO"
    for transport, event in zip(puppet.transports, puppet.events, strict=True):
        if isinstance(event, StreamOpened):
            transport.send(0, bytes(50_000))
    puppet.say()
    assert octets_to(puppet, 20) > 3600
    assert octets_to(puppet, 21) <= 3600
    assert octets_to(puppet, 22) <= 3600


def test_a_copied_first_flight_is_one_connection_and_its_octets_are_read_once() -> None:
    puppet = Puppet(RESUMING)
    ticket = ticket_of(puppet)
    for _ in range(3):
        puppet.say_initial(TokenFrame(ticket), LIMITS, StreamFrame(0, 0, b"EHLO", False), source=20)
    assert puppet.server.connection_count == 2
    assert early_octets(puppet) == b"EHLO"


@pytest.mark.parametrize("bit", [200, 4000, 9590])
def test_a_first_flight_that_arrives_damaged_uses_no_ticket(bit: int) -> None:
    pair, dialogues = acquainted()
    pair.forward.corrupt([pair.forward.count], bit=bit)
    start = pair.reverse.count
    dialogues.run_until_heard(dialogues.call())
    (hello, *_) = [
        frame for frame in decode_packet(pair.reverse.sent[start][1]).frames if isinstance(frame, HelloFrame)
    ]
    assert hello.is_early_data_taken


@pytest.mark.parametrize("words", [[PingFrame()], [StreamFrame(0, 0, b"EHLO", False)]])
def test_a_first_flight_without_a_hello_uses_no_ticket(words: list[Frame]) -> None:
    puppet = Puppet(RESUMING)
    ticket = ticket_of(puppet)
    puppet.say_initial(TokenFrame(ticket), *words, source=20)
    puppet.say_initial(TokenFrame(ticket), LIMITS, StreamFrame(0, 0, b"EHLO", False), source=20)
    assert taken(puppet) == [False, True]
    assert early_octets(puppet) == b"EHLO"


@pytest.mark.parametrize("damage", ["other host", "expired", "forged", "none of ours"])
def test_a_ticket_that_is_not_this_clients_is_as_none(damage: str) -> None:
    puppet = Puppet(RESUMING)
    ticket = ticket_of(puppet)
    remote = "client"
    match damage:
        case "other host":
            remote = "stranger"
        case "expired":
            puppet.wait(3601 * SECOND)
        case "forged":
            ticket = ticket[:-1] + bytes([ticket[-1] ^ 1])
        case _:
            ticket = b"\xff" * 100
    frames: list[Frame] = [TokenFrame(ticket), LIMITS, StreamFrame(0, 0, bytes(1000), False), PaddingFrame(200)]
    puppet.deliver(encode_packet(Packet(INITIAL, 4, 0, frames, 20)), remote)
    assert early_octets(puppet) == b""
    assert not any(taken(puppet))
    assert puppet.server.connection_count >= 1
    assert puppet.close_codes == []


def test_octets_in_a_first_flight_without_a_ticket_are_still_an_offence() -> None:
    puppet = Puppet(RESUMING)
    puppet.say_initial(LIMITS, StreamFrame(0, 0, b"EHLO", False))
    assert puppet.close_codes == [ErrorCode.PROTOCOL_VIOLATION]


def test_early_octets_beyond_what_was_promised_close_the_connection() -> None:
    puppet = Puppet(RESUMING)
    ticket = ticket_of(puppet)
    puppet.say_initial(TokenFrame(ticket), LIMITS, StreamFrame(4 * 100, 0, b"x", False), source=20)
    assert puppet.close_codes == [ErrorCode.STREAM_LIMIT_ERROR]


def test_a_client_has_no_tickets_to_give() -> None:
    puppet = Puppet().connect()
    puppet.say(TokenFrame(b"ticket"))
    assert puppet.close_codes == [ErrorCode.PROTOCOL_VIOLATION]


# A server that cheats


def test_a_server_cannot_have_taken_what_was_not_sent() -> None:
    puppet = PuppetServer()
    puppet.say_initial(HelloFrame(initial_max_data=5, is_early_data_taken=True))
    assert puppet.closed is not None
    assert puppet.closed.error_code == ErrorCode.TRANSPORT_PARAMETER_ERROR


@pytest.mark.parametrize(("is_taken", "cause"), [(True, "protocol_error"), (False, None)])
def test_a_server_that_takes_early_octets_may_not_have_less_room_than_it_promised(
    is_taken: bool, cause: str | None
) -> None:
    pair, dialogues = acquainted()
    dialogues.call()
    number = pair.forward.count
    pair.run_for("1ms")
    pair.reverse.is_cut = True
    first = decode_packet(pair.forward.sent[number][1])
    client_id = first.source_connection_id
    hello = HelloFrame(initial_max_data=5, initial_max_stream_data=5, is_early_data_taken=is_taken)
    pair.inject(pair.client, encode_packet(Packet(INITIAL, client_id, 0, [hello], 77)), "server")
    ends = [event for event in pair.client.events[-2:] if getattr(event[1], "cause", None)]
    assert [getattr(event, "cause", None) for _, event in ends] == ([cause] if cause else [])


def test_streams_opened_beside_a_full_first_flight_wait_for_the_hello() -> None:
    pair, dialogues = acquainted()
    transport = dialogues.call(b"x" * 3000)
    pair.drop_next(1)
    pair.run_for("1ms")
    later = [transport.open_stream() for _ in range(6)]
    told = len(pair.server.told(StreamOpened))
    pair.run_until_idle()
    assert dialogues.last_obeyed == b"x" * 3000
    assert len(pair.server.told(StreamOpened)) == told + 1 + len(later)
    assert all(len(data) <= 1200 for _, data in pair.forward.sent if data[0] == INITIAL)
