"""A server that breaks the rules gets no more of our client than a client does of our server."""

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ErrorCode
from rudp_smtp.trace import ListSink, PacketDropped
from rudp_smtp.transport import Closed, Event, StreamData
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import SECOND
from rudp_smtp.wire.frames import (
    AckFrame,
    ConnectionCloseFrame,
    Frame,
    HelloFrame,
    MaxDataFrame,
    MaxStreamDataFrame,
    PingFrame,
    ResetStreamFrame,
    StreamFrame,
)
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, Packet, decode_packet, encode_packet
from tests.transport.rudp.puppet import LIMITS

SERVER_ID = 77
TIMEOUTS_MAX = 200  # far more than back-off lets there be before the idle timeout
NO_CREDIT = HelloFrame(max_idle_timeout=30 * SECOND, initial_max_streams=100)


class PuppetServer:
    """Owns its packet numbers and the clock; `client` has opened stream 0 and sent its first flight."""

    def __init__(self) -> None:
        self.sink = ListSink()
        self.client = Rudp().endpoint(host="client", accepts=False, draws=DrawKey(1, "client"), sink=self.sink)
        self.now = 0
        self.heard: list[Frame] = []
        self.events: list[Event] = []
        self._packet_number = 0
        self.transport = self.client.connect("server", 0)
        self.transport.open_stream()
        datagram = self.client.next_datagram(0)
        assert datagram is not None
        self.client_id = decode_packet(datagram[0]).source_connection_id
        self._drain()

    @property
    def closed(self) -> Closed | None:
        return next((event for event in self.events if isinstance(event, Closed)), None)

    def say_initial(self, *frames: Frame) -> None:
        self._deliver(Packet(INITIAL, self.client_id, self._packet_number, list(frames), SERVER_ID))

    def say(self, *frames: Frame) -> None:
        self._deliver(Packet(ONE_RTT, self.client_id, self._packet_number, list(frames)))

    def wait(self, duration: int) -> int:
        """Let time pass; how many deadlines came."""
        end = self.now + duration
        deadlines = 0
        while (deadline := self.client.next_timeout()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.client.handle_timeout(self.now)
            self._drain()
            deadlines += 1
            assert deadlines < TIMEOUTS_MAX, "the client wakes without end"
        self.now = end
        return deadlines

    def _deliver(self, packet: Packet) -> None:
        self._packet_number += 1
        self.client.receive_datagram(encode_packet(packet), "server", self.now)
        self._drain()

    def _drain(self) -> None:
        while (told := self.client.next_event()) is not None:
            self.events.append(told[1])
        while (outgoing := self.client.next_datagram(self.now)) is not None:
            self.heard += decode_packet(outgoing[0]).frames


def test_what_comes_before_the_first_initial_packet_is_dropped_and_keeps_nobody_awake() -> None:
    puppet = PuppetServer()
    for _ in range(3):
        puppet.say(PingFrame(), StreamFrame(0, 0, b"early", False))
    assert puppet.wait(SECOND) < 5
    assert not any(isinstance(event, StreamData) for event in puppet.events)
    assert [fact.trigger for fact in puppet.sink.facts if isinstance(fact, PacketDropped)] == ["no_handshake"] * 3
    puppet.say_initial(LIMITS)
    puppet.say(StreamFrame(0, 0, b"in time", False))
    assert puppet.events[-1] == StreamData(0, b"in time", False)


def test_a_server_that_never_says_hello_is_given_up() -> None:
    puppet = PuppetServer()
    puppet.say_initial(PingFrame())
    puppet.transport.send(0, b"unheard", True)
    puppet.say(PingFrame(), MaxDataFrame(1 << 20), MaxStreamDataFrame(0, 1 << 20))
    puppet.wait(60 * SECOND)
    assert not any(isinstance(frame, StreamFrame) and frame.data for frame in puppet.heard)
    assert puppet.closed is not None
    assert puppet.closed.cause == "idle_timeout"


def test_a_hello_that_changes_closes_the_connection() -> None:
    puppet = PuppetServer()
    puppet.say_initial(LIMITS)
    puppet.say_initial(HelloFrame(initial_max_data=5))
    assert puppet.closed is not None
    assert puppet.closed.error_code == ErrorCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    ("frame", "error_code"),
    [
        (AckFrame([(0, 1000)], 0), ErrorCode.PROTOCOL_VIOLATION),
        (StreamFrame(1 + 4 * 100, 0, b"x", False), ErrorCode.STREAM_LIMIT_ERROR),
        (StreamFrame(4, 0, b"x", False), ErrorCode.STREAM_STATE_ERROR),
        (StreamFrame(0, 1 << 40, b"x", False), ErrorCode.FLOW_CONTROL_ERROR),
        (ResetStreamFrame(0, 0, 1 << 40), ErrorCode.FLOW_CONTROL_ERROR),
    ],
)
@pytest.mark.parametrize("is_known", [False, True], ids=["instead of hello", "after hello"])
def test_a_violation_closes_the_connection_in_the_handshake_too(
    frame: Frame, error_code: ErrorCode, is_known: bool
) -> None:
    puppet = PuppetServer()
    puppet.say_initial(*([LIMITS] if is_known else []), frame)
    assert puppet.closed is not None
    assert (puppet.closed.cause, puppet.closed.error_code) == ("protocol_error", error_code)
    assert any(isinstance(heard, ConnectionCloseFrame) for heard in puppet.heard)
    puppet.say(PingFrame())
    puppet.wait(60 * SECOND)
    assert puppet.client.next_timeout() is None


def test_a_server_that_gives_no_credit_gets_nothing_and_the_idle_timeout_ends_the_wait() -> None:
    puppet = PuppetServer()
    puppet.say_initial(NO_CREDIT, AckFrame([(0, 1)], 0))
    puppet.transport.send(0, bytes(5000), True)
    puppet.transport.close(puppet.now)
    puppet.wait(SECOND)
    assert not any(isinstance(frame, StreamFrame) and frame.data for frame in puppet.heard)
    puppet.wait(60 * SECOND)
    assert puppet.closed is not None
    assert puppet.closed.cause == "idle_timeout"
    assert puppet.client.next_timeout() is None
