"""Anything well-formed, in any order, between commands of any kind: neither side raises, hangs or wakes for ever."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import LocalProtocolError, PacketDecodeError
from rudp_smtp.transport import Endpoint, StreamData, StreamReset, Transport
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import MILLISECOND, SECOND
from rudp_smtp.wire.frames import (
    AckFrame,
    ConnectionCloseFrame,
    Frame,
    HelloFrame,
    MaxDataFrame,
    MaxStreamDataFrame,
    MaxStreamsFrame,
    PaddingFrame,
    PathChallengeFrame,
    PathResponseFrame,
    PingFrame,
    ResetStreamFrame,
    StopSendingFrame,
    StreamFrame,
    TokenFrame,
)
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, Packet, decode_packet, encode_packet
from tests.transport.rudp.puppet import LIMITS
from tests.wire.strategies import frames as any_frames

SMALL = Rudp(connection_window=100_000, stream_window=70_000, max_streams=3)
DATAGRAMS_MAX = 300  # in answer to one input
WAKES_MAX = 2_000  # in the time that is waited at once

stream_ids = st.sampled_from([0, 0, 0, 1, 4, 5, 8, 12])
sizes = st.integers(0, 60)
# Nearly right, so that most of a sequence gets through before something is wrong.
likely: st.SearchStrategy[Frame] = st.one_of(
    st.builds(StreamFrame, stream_ids, sizes, st.integers(0, 40).map(bytes), st.booleans()),
    st.builds(AckFrame, st.integers(1, 6).map(lambda stop: [(0, stop)]), st.integers(0, 10**8)),
    st.builds(AckFrame, st.integers(0, 5).map(lambda low: [(low, low + 1)]), st.integers(0, 10**8)),
    st.builds(PingFrame),
    st.builds(MaxDataFrame, st.integers(0, 200_000)),
    st.builds(MaxStreamDataFrame, stream_ids, st.integers(0, 100_000)),
    st.builds(MaxStreamsFrame, st.integers(0, 300)),
    st.builds(ResetStreamFrame, stream_ids, st.integers(0, 9), sizes),
    st.builds(StopSendingFrame, stream_ids, st.integers(0, 9)),
    st.builds(PathChallengeFrame, st.integers(0, 3)),
    st.builds(PathResponseFrame, st.integers(0, 3)),
    st.builds(TokenFrame, st.binary(min_size=1, max_size=40)),
    st.just(LIMITS),
    st.builds(ConnectionCloseFrame, st.integers(0, 9), st.just("why"), st.booleans()),
)
said = st.lists(likely | likely | likely | any_frames, min_size=1, max_size=5)


@dataclass(frozen=True, slots=True)
class Say:
    frames: list[Frame]
    is_initial: bool
    skip: int
    remote: str


@dataclass(frozen=True, slots=True)
class Wait:
    time: int


@dataclass(frozen=True, slots=True)
class Do:
    command: str
    stream_index: int


Step = Say | Wait | Do
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.builds(Say, said, st.booleans(), st.sampled_from([0, 0, 0, 0, 1, -1, 7]), st.just("peer")),
        st.builds(Say, said, st.just(False), st.just(0), st.sampled_from(["peer", "peer", "elsewhere"])),
        st.builds(Wait, st.integers(0, 400).map(lambda ms: ms * MILLISECOND)),
        st.builds(
            Do,
            st.sampled_from(["open", "send", "send", "finish", "reset", "stop", "close", "abort"]),
            st.integers(0, 3),
        ),
    ),
    max_size=25,
)


@dataclass(slots=True)
class Victim:
    """An endpoint of ours, the hostile peer's side of its packets, and an application that does as it is told."""

    endpoint: Endpoint
    now: int = 0
    our_id: int = 0  # what the peer must address its packets to, once it is known
    number: int = 0
    transports: list[Transport] = field(default_factory=list)
    streams: list[int] = field(default_factory=list)

    def take(self, step: Step) -> None:
        match step:
            case Say():
                self.number = max(0, self.number + step.skip)
                kind = INITIAL if step.is_initial else ONE_RTT
                packet = Packet(kind, self.our_id, self.number, list(step.frames), 77)
                padding = 1200 - len(encode_packet(packet))
                if step.is_initial and padding > 0:
                    packet.frames.append(PaddingFrame(padding))
                self.number += 1
                self.endpoint.receive_datagram(encode_packet(packet), step.remote, self.now)
            case Wait():
                self.wait(step.time)
            case Do() if self.transports:
                self.command(self.transports[0], step)
        self.drain()

    def command(self, transport: Transport, step: Do) -> None:
        stream_id = self.streams[step.stream_index % len(self.streams)] if self.streams else 0
        commands: dict[str, Callable[[], object]] = {
            "open": lambda: self.streams.append(transport.open_stream()),
            "send": lambda: transport.send(stream_id, bytes(700)),
            "finish": lambda: transport.send(stream_id, b"", True),
            "reset": lambda: transport.reset_stream(stream_id, 1),
            "stop": lambda: transport.stop_sending(stream_id, 1),
            "close": lambda: transport.close(self.now),
            "abort": lambda: transport.reset(1, "enough", self.now),
        }
        try:
            commands[step.command]()
        except LocalProtocolError:
            return  # the stream or the connection was over, which the caller is told

    def wait(self, time: int) -> None:
        end, wakes = self.now + time, 0
        while (deadline := self.endpoint.next_timeout()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.endpoint.handle_timeout(self.now)
            self.drain()
            wakes += 1
            assert wakes < WAKES_MAX, "it wakes without end"
        self.now = end

    def drain(self) -> None:
        while (told := self.endpoint.next_event()) is not None:
            if told[0] not in self.transports:
                self.transports.append(told[0])
            if isinstance(told[1], StreamData | StreamReset) and told[1].stream_id not in self.streams:
                self.streams.append(told[1].stream_id)
        datagrams = 0
        while (outgoing := self.endpoint.next_datagram(self.now)) is not None:
            datagrams += 1
            assert datagrams < DATAGRAMS_MAX, "it sends without end"
            try:
                packet = decode_packet(outgoing[0])
            except PacketDecodeError:
                continue  # RETRY and VERSION_NEGOTIATION are no packets with frames
            if packet.kind == INITIAL:
                self.our_id = packet.source_connection_id


def assert_it_ends(victim: Victim) -> None:
    """Left alone, nothing is kept for ever."""
    victim.wait(400 * SECOND)
    assert victim.endpoint.next_timeout() is None


@settings(max_examples=120, deadline=None)
@given(steps=steps, is_known=st.booleans())
def test_nothing_a_server_says_makes_a_client_raise_or_hang(steps: list[Step], is_known: bool) -> None:
    client = SMALL.endpoint(host="client", accepts=False, draws=DrawKey(1, "client"), sink=None)
    victim = Victim(client)
    victim.transports.append(client.connect("peer", 0))
    victim.streams.append(victim.transports[0].open_stream())
    victim.drain()
    if is_known:
        victim.take(Say([LIMITS], True, 0, "peer"))
    for step in steps:
        victim.take(step)
    assert_it_ends(victim)


@settings(max_examples=120, deadline=None)
@given(steps=steps)
def test_nothing_a_client_says_makes_a_server_raise_or_hang(steps: list[Step]) -> None:
    server = SMALL.endpoint(host="server", accepts=True, draws=DrawKey(1, "server"), sink=None)
    victim = Victim(server, our_id=3)
    victim.take(Say([LIMITS], True, 0, "peer"))
    for step in steps:
        victim.take(step)
    assert_it_ends(victim)


@settings(max_examples=60, deadline=None)
@given(
    hellos=st.lists(
        st.builds(HelloFrame, initial_max_data=st.integers(0, 1 << 40), initial_max_streams=st.integers(0, 9)),
        max_size=3,
    ),
    token=st.binary(min_size=1, max_size=60),
)
def test_no_first_flight_makes_a_server_raise(hellos: list[HelloFrame], token: bytes) -> None:
    for retry in ("always", "never"):
        server = Rudp(retry=retry, resumption=True).endpoint(host="server", accepts=True, draws=DrawKey(1), sink=None)
        victim = Victim(server, our_id=3)
        victim.take(Say([TokenFrame(token), *hellos, StreamFrame(0, 0, b"early", False)], True, 0, "peer"))
        assert_it_ends(victim)
