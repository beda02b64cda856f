"""Handshake: connection IDs, the two HELLOs, and how much an unproven address may be sent (RFC 9000 s7, s8.1).

One round trip. The client's first flight is an INITIAL packet with its HELLO and, as empty STREAM frames, the names of
the streams its application has opened: to repeat it changes nothing at the server, and a server that speaks first can
answer in its own first flight. That is an INITIAL packet too, with the server's HELLO and its connection ID, and so is
all that the server sends until a packet reaches it under that ID, which proves the client's address. The client's data
waits for the server's HELLO, which brings its limits.
"""

from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.transport.rudp.config import TransportConfig
from rudp_smtp.transport.rudp.outbox import Control, Outbox
from rudp_smtp.wire.frames import Frame, HelloFrame
from rudp_smtp.wire.packet import Packet

AMPLIFICATION_FACTOR = 3  # RFC 9000 section 8.1


class Hello(Control):
    __slots__ = ("_frame", "_is_acked")

    def __init__(self, outbox: Outbox, frame: HelloFrame) -> None:
        super().__init__(outbox)
        self._frame = frame
        self._is_acked = False

    def frame(self) -> Frame | None:
        return None if self._is_acked else self._frame

    def on_acked(self) -> None:
        self._is_acked = True


class Handshake:
    """Owns the connection IDs, what the peer declared, and the octets to and from an unproven address."""

    __slots__ = (
        "_octets_received",
        "_octets_sent",
        "hello",
        "is_address_proven",
        "is_client",
        "is_confirmation_due",
        "local_id",
        "max_datagram_size",
        "original_id",
        "outbox",
        "peer_hello",
        "peer_id",
    )

    def __init__(
        self, config: TransportConfig, *, is_client: bool, local_id: int, original_id: int, peer_id: int | None
    ) -> None:
        self.is_client = is_client
        self.local_id = local_id  # the peer addresses its packets to it
        self.original_id = original_id  # what the client called the server before it knew better
        self.peer_id = peer_id  # None: the client does not know yet what the server calls itself
        self.peer_hello: HelloFrame | None = None
        self.max_datagram_size = config.max_datagram_size
        self.outbox = Outbox()  # for the HELLO alone: it goes before all else, also where nothing else may
        self.is_address_proven = is_client
        # RFC 9002 section 6.2.2.1: the server may have spent its allowance, so the client must go on until it knows
        # that the server heard of it. Its first packet after the handshake asks for an acknowledgement.
        self.is_confirmation_due = False
        self._octets_received = 0
        self._octets_sent = 0
        hello = HelloFrame(
            max_idle_timeout=config.max_idle_timeout,
            max_datagram_size=config.max_datagram_size,
            initial_max_data=config.connection_window,
            initial_max_stream_data=config.stream_window,
            initial_max_streams=config.max_streams,
            max_ack_delay=config.max_ack_delay,
        )
        self.hello = Hello(self.outbox, hello)
        self.outbox.add(self.hello)

    def accepts(self, packet: Packet) -> bool:
        """Take the peer's connection ID from its first INITIAL packet; in later ones it does not change (s7.2)."""
        if self.peer_id is None:
            self.peer_id = packet.source_connection_id
        return packet.source_connection_id == self.peer_id

    def on_hello(self, hello: HelloFrame) -> bool:
        """Take the peer's declaration; False when it is only repeated."""
        if self.peer_hello is not None:
            if hello != self.peer_hello:
                raise RemoteProtocolError("another HELLO", error_code=ErrorCode.PROTOCOL_VIOLATION)
            return False
        self.peer_hello = hello
        self.max_datagram_size = min(self.max_datagram_size, hello.max_datagram_size)
        self.is_confirmation_due = self.is_client
        return True

    @property
    def allowance(self) -> int:
        """Octets that may go to an address not yet proven."""
        return AMPLIFICATION_FACTOR * self._octets_received - self._octets_sent

    def on_unproven_received(self, size: int) -> None:
        self._octets_received += size

    def on_unproven_sent(self, size: int) -> None:
        self._octets_sent += size
