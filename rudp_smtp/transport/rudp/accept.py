"""Doorman: what becomes of an INITIAL packet that belongs to no connection (RFC 9000 s5.2.2, s6.1, s8.1).

Checks go from cheap to dear and none keeps anything of the client, until it is admitted. What is answered without a
connection is never larger than what it answers.
"""

from dataclasses import dataclass

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ErrorCode
from rudp_smtp.transport.rudp.config import MIN_ACK_DELAY, TransportConfig
from rudp_smtp.transport.rudp.resumption import StrikeRegister
from rudp_smtp.transport.rudp.tokens import FirstFlight, TokenKind, TokenMint, kind_of
from rudp_smtp.wire.frames import ConnectionCloseFrame
from rudp_smtp.wire.hello import MIN_DATAGRAM_SIZE, HelloFrame
from rudp_smtp.wire.packet import INITIAL, VERSION, Packet, encode_packet
from rudp_smtp.wire.stateless import InitialHead, VersionNegotiation, encode_retry, encode_version_negotiation

PAST_KEPT = 4096  # first flights of past connections remembered, so that a late copy opens nothing
LOAD_SHARE = 2  # an endpoint whose half-open connections are more than one in so many of those allowed is under load

_GREASE_MASK, _GREASE = 0xF0F0F0F0, 0x0A0A0A0A  # RFC 9000 section 15: versions like 0x?a?a?a?a never exist


@dataclass(frozen=True, slots=True)
class Admission:
    """The client may open a connection. `ticket` is for its next one; empty where none is to be had. `used` is the
    serial number of the one it came with, if that lets it in."""

    is_address_proven: bool
    ticket: bytes
    used: int | None = None

    @property
    def is_early_data_taken(self) -> bool:
        return self.used is not None


@dataclass(frozen=True, slots=True)
class Answer:
    """A datagram to send back, and nothing to remember."""

    datagram: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Silence; `trigger` is for the fact."""

    trigger: str


Verdict = Admission | Answer | Refusal


class Doorman:
    """Owns the tokens, the used ones among them, and the memory of past first flights."""

    __slots__ = ("_config", "_mint", "_past_flights", "_strikes")

    def __init__(self, config: TransportConfig, draws: DrawKey) -> None:
        self._config = config
        self._mint = TokenMint(draws, declaration(config).encode())
        self._strikes = StrikeRegister()
        self._past_flights: dict[FirstFlight, None] = {}  # oldest first

    def judge(
        self,
        head: InitialHead,
        size: int,
        client: FirstFlight,
        *,
        refusal: str,
        is_proof_due: bool,
        half_open: int,
        now: int,
    ) -> Verdict:
        """Decide on a client's first flight, a datagram of `size` octets.

        `refusal`: why there is no room for it, if there is none. `is_proof_due`: who gives no proof takes the room of
        who does.
        """
        if head.version != VERSION:
            return _judge_version(head, size)
        if client in self._past_flights:
            return Refusal("duplicate")
        if size < MIN_DATAGRAM_SIZE:  # RFC 9000 section 14.1
            return Refusal("first_flight_too_small")
        config = self._config
        if refusal:
            return Answer(_encode_refusal(client, refusal))
        kind = kind_of(head.token)
        if kind is TokenKind.COOKIE:
            if not self._mint.proves_cookie(head.token, client, now):
                return Refusal("invalid_token")  # s8.1.3: another RETRY would not be heeded
            return Admission(True, self._ticket(client, now))
        if kind is TokenKind.OTHER and (serial := self._usable(head.token, client, now)) is not None:
            return Admission(True, self._ticket(client, now), serial)
        is_proof_due |= half_open * LOAD_SHARE > config.max_half_open
        if config.retry == "always" or (config.retry == "auto" and is_proof_due):
            _, original_id, client_id = client
            return Answer(encode_retry(client_id, original_id, self._mint.cookie(client, now)))
        if half_open >= config.max_half_open:
            return Refusal("half_open_limit")
        return Admission(False, self._ticket(client, now))

    def on_admitted(self, admission: Admission, now: int) -> None:
        """The first flight makes sense and opens a connection: only now is its ticket used. One that opens none must
        not cost the client the early data of the next."""
        if admission.used is not None:
            self._strikes.strike(admission.used, now)

    def on_past(self, client: FirstFlight) -> None:
        """A connection is over: late copies of its first flight open no other."""
        past = self._past_flights
        past[client] = None
        if len(past) > PAST_KEPT:
            del past[next(iter(past))]

    def _usable(self, token: bytes, client: FirstFlight, now: int) -> int | None:
        """The serial number of a ticket, which is good once. Any other token is as none (s8.1.3): the client cannot
        know better."""
        if not self._config.resumption:
            return None
        serial = self._mint.ticket_serial(token, client[0], now)
        return serial if serial is not None and self._strikes.has_room_for(serial, now) else None

    def _ticket(self, client: FirstFlight, now: int) -> bytes:
        return self._mint.ticket(client[0], now) if self._config.resumption else b""


def declaration(config: TransportConfig, is_early_data_taken: bool = False) -> HelloFrame:
    """What an endpoint declares to its peers."""
    return HelloFrame(
        max_idle_timeout=config.max_idle_timeout,
        max_datagram_size=config.max_datagram_size,
        initial_max_data=config.first_connection_window,
        initial_max_stream_data=config.first_stream_window,
        initial_max_streams=config.max_streams,
        max_ack_delay=config.max_ack_delay,
        min_ack_delay=min(MIN_ACK_DELAY, config.max_ack_delay) if config.is_ack_frequency_offered else None,
        is_early_data_taken=is_early_data_taken,
    )


def _encode_refusal(client: FirstFlight, reason: str) -> bytes:
    """RFC 9000 section 5.2.2. The server calls itself what the client called it: there is nobody to write back to."""
    _, original_id, client_id = client
    close = ConnectionCloseFrame(ErrorCode.CONNECTION_REFUSED, reason, False)
    return encode_packet(Packet(INITIAL, client_id, 0, [close], original_id))


def _judge_version(head: InitialHead, size: int) -> Verdict:
    """RFC 9000 section 6.1: name ours, and one that nobody has so that clients learn to skip what they do not know."""
    if size < MIN_DATAGRAM_SIZE or not head.version:
        return Refusal("unsupported_version")
    grease = head.source_connection_id & _GREASE_MASK | _GREASE
    if grease == head.version:
        grease ^= 0x1010_1010
    answer = VersionNegotiation(head.source_connection_id, head.destination_connection_id, (grease, VERSION))
    return Answer(encode_version_negotiation(answer))
