"""Puppet: a client that says whatever a test wants, in well-formed packets, to a real server."""

from rudp_smtp.draws import DrawKey
from rudp_smtp.trace import Sink
from rudp_smtp.transport import Address, Event, Transport
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.transport.rudp.endpoint import Endpoint
from rudp_smtp.wire.frames import ConnectionCloseFrame, Frame, HelloFrame, PaddingFrame
from rudp_smtp.wire.packet import (
    INITIAL,
    ONE_RTT,
    RETRY,
    VERSION_NEGOTIATION,
    Packet,
    decode_packet,
    encode_packet,
)
from tests.helpers import Side

LIMITS = HelloFrame(
    max_idle_timeout=30 * 10**9,
    initial_max_data=1 << 20,
    initial_max_stream_data=1 << 20,
    initial_max_streams=100,
)


def connections_of(side: Side) -> int:
    """Connections a host of a Pair has not forgotten yet."""
    assert isinstance(side.endpoint, Endpoint)
    return side.endpoint.connection_count


class Puppet:
    """Owns its packet numbers and the clock. `heard` are the frames of every packet the server sent, in order."""

    def __init__(self, transport: Rudp | None = None, hello: HelloFrame = LIMITS, sink: Sink | None = None) -> None:
        self.server = (transport or Rudp()).endpoint(host="server", accepts=True, draws=DrawKey(1, "server"), sink=sink)
        self.now = 0
        self.hello = hello
        self.server_id = 0
        self.packets: list[Packet] = []
        self.stateless: list[bytes] = []  # RETRY and VERSION_NEGOTIATION
        self.events: list[Event] = []
        self.transports: list[Transport] = []
        self._packet_number = 0

    @property
    def heard(self) -> list[Frame]:
        return [frame for packet in self.packets for frame in packet.frames]

    @property
    def close_codes(self) -> list[int]:
        return [frame.error_code for frame in self.heard if isinstance(frame, ConnectionCloseFrame)]

    @property
    def transport(self) -> Transport:
        """The server's end of the connection."""
        return self.transports[0]

    def connect(self, *frames: Frame, size: int = 1200) -> "Puppet":
        """Say HELLO, and prove the address."""
        self.say_initial(self.hello, *frames, size=size)
        self.server_id = self.packets[-1].source_connection_id
        self.say(PaddingFrame(1))
        return self

    def say_initial(self, *frames: Frame, size: int = 1200, source: int = 7, original: int = 3) -> list[Frame]:
        packet = Packet(INITIAL, original, self._packet_number, list(frames), source)
        padding = size - len(encode_packet(packet))
        if padding > 0:
            packet.frames.append(PaddingFrame(padding))
        return self.deliver(encode_packet(packet))

    def say(self, *frames: Frame) -> list[Frame]:
        """Say frames, or only let the server say what it has to."""
        if not frames:
            return self._drain()
        return self.deliver(encode_packet(Packet(ONE_RTT, self.server_id, self._packet_number, list(frames))))

    def deliver(self, data: bytes, remote: Address = "client") -> list[Frame]:
        """Let octets arrive; the frames that come back at once."""
        self._packet_number += 1
        self.server.receive_datagram(data, remote, self.now)
        return self._drain()

    def skip(self, count: int) -> None:
        """Leave packet numbers out."""
        self._packet_number += count

    def wait(self, duration: int) -> list[Frame]:
        """Let time pass; the frames that come meanwhile."""
        end = self.now + duration
        heard: list[Frame] = []
        while (deadline := self.server.next_timeout()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.server.handle_timeout(self.now)
            heard += self._drain()
        self.now = end
        return heard

    def _drain(self) -> list[Frame]:
        heard: list[Frame] = []
        while (told := self.server.next_event()) is not None:
            self.transports.append(told[0])
            self.events.append(told[1])
        while (outgoing := self.server.next_datagram(self.now)) is not None:
            if outgoing[0][0] in (RETRY, VERSION_NEGOTIATION):
                self.stateless.append(outgoing[0])
                continue
            packet = decode_packet(outgoing[0])
            self.packets.append(packet)
            heard += packet.frames
        self.server.next_timeout()
        return heard
