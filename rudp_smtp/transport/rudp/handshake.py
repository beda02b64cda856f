"""Handshake: connection IDs, tokens, the two HELLOs, and what an unproven address may be sent (RFC 9000 s7, s8.1).

One round trip. The client's first flight is an INITIAL packet with its HELLO and, as empty STREAM frames, the names of
the streams its application has opened: to repeat it changes nothing at the server, and a server that speaks first can
answer in its own first flight. That is an INITIAL packet too, with the server's HELLO and its connection ID, and so is
all that the server sends until a packet reaches it under that ID, which proves the client's address, if a token did
not before. The client's data waits for the server's HELLO, which brings its limits; `resumption` has the exception.
"""

from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.transport.rudp.accept import Admission, declaration
from rudp_smtp.transport.rudp.config import TransportConfig
from rudp_smtp.transport.rudp.outbox import Control, Outbox
from rudp_smtp.transport.rudp.resumption import EarlyData, KnownServer, NewToken
from rudp_smtp.wire.frames import Frame, HelloFrame
from rudp_smtp.wire.packet import MAX_DATAGRAM_SIZE, Packet

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
        "_known",
        "_octets_received",
        "_octets_sent",
        "_ticket",
        "early",
        "has_retried",
        "hello",
        "initial_rtt",
        "is_address_proven",
        "is_client",
        "is_confirmation_due",
        "is_confirmed",
        "is_early_data_taken",
        "local_id",
        "original_id",
        "outbox",
        "peer_hello",
        "peer_id",
        "token",
    )

    def __init__(
        self,
        config: TransportConfig,
        *,
        local_id: int,
        original_id: int,
        peer_id: int | None = None,
        admission: Admission | None = None,
        known: KnownServer | None = None,
    ) -> None:
        """A server has let the client in by an `admission`; a client may know the server from before."""
        self.is_client = is_client = admission is None
        self.local_id = local_id  # the peer addresses its packets to it
        self.original_id = original_id  # what the client called the server before it knew better
        self.peer_id = peer_id  # None: the client does not know yet what the server calls itself
        self.peer_hello: HelloFrame | None = None
        self.outbox = Outbox()  # for HELLO and TOKEN: they go before all else, also where nothing else may
        self.is_address_proven = admission is None or admission.is_address_proven
        self.is_early_data_taken = admission is not None and admission.is_early_data_taken
        self.is_confirmed = is_client  # a server: the client uses the ID that our HELLO came with
        self.has_retried = False
        self._ticket = b"" if admission is None else admission.ticket  # for the client's next connection
        self._known = known
        self.initial_rtt = config.initial_rtt
        if known is not None and known.smoothed_rtt is not None:
            self.initial_rtt = known.smoothed_rtt
        remembered = None if known is None else known.take()
        self.token = b"" if remembered is None else remembered[0]  # a client's
        self.early = None if remembered is None else EarlyData(remembered[1])  # until the server's HELLO is there
        # RFC 9002 section 6.2.2.1: the server may have spent its allowance, so the client must go on until it knows
        # that the server heard of it. Its first packet after the handshake asks for an acknowledgement.
        self.is_confirmation_due = False
        self._octets_received = 0
        self._octets_sent = 0
        self.hello = Hello(self.outbox, declaration(config, self.is_early_data_taken))
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
        self.is_confirmation_due = self.is_client
        return True

    def on_retry(self, token: bytes) -> None:
        """Say HELLO again, with the server's cookie."""
        self.token = token
        self.early = None
        self.has_retried = True
        self.outbox.add(self.hello)

    def on_confirmed(self) -> None:
        """The client knows our connection ID, so it is where it says. Give it a ticket for the next time."""
        self.is_address_proven = self.is_confirmed = True
        if self._ticket:
            self.outbox.add(NewToken(self.outbox, self._ticket))

    def on_new_token(self, token: bytes, smoothed_rtt: int) -> None:
        if not self.is_client:  # RFC 9000 section 19.7
            raise RemoteProtocolError("TOKEN from a client", error_code=ErrorCode.PROTOCOL_VIOLATION)
        if self._known is not None and self.peer_hello is not None:
            self._known.add(token, self.peer_hello, smoothed_rtt)

    @property
    def allowance(self) -> int:
        """Octets that may go to the client's address."""
        if self.is_address_proven:
            return MAX_DATAGRAM_SIZE
        return AMPLIFICATION_FACTOR * self._octets_received - self._octets_sent

    def on_unproven_received(self, size: int) -> None:
        self._octets_received += size

    def on_unproven_sent(self, size: int) -> None:
        self._octets_sent += size
