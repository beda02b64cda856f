"""HELLO: the transport parameters each side declares once (RFC 9000 s7.4 and s18; it stands where CRYPTO was)."""

from dataclasses import dataclass
from typing import Final

from rudp_smtp.errors import ErrorCode, PacketDecodeError
from rudp_smtp.units import MICROSECOND, MILLISECOND
from rudp_smtp.wire.fields import MAX_STREAM_COUNT, decode_octets, refusal
from rudp_smtp.wire.varint import VARINT_MAX, decode_varint, encode_varint

HELLO: Final = 0x06  # frame type

MIN_DATAGRAM_SIZE = 1200  # s14, s18.2: every path carries this; a first flight is padded to it
MAX_PARAMETERS = 64
_MIN_ACK_DELAY: Final = 0xFF04_DE1B  # draft-ietf-quic-ack-frequency section 10.1


@dataclass(slots=True, kw_only=True)
class HelloFrame:
    """The sender's transport parameters (s18), once from each side: type, length, then (ID, length, value) triples.

    IDs and defaults are the RFC's. Unknown IDs are skipped, so later versions can add some.
    """

    max_idle_timeout: int = 0  # 0: none
    max_datagram_size: int = 65_527
    initial_max_data: int = 0
    initial_max_stream_data: int = 0
    initial_max_streams: int = 0
    max_ack_delay: int = 25 * MILLISECOND
    min_ack_delay: int | None = None  # draft-ietf-quic-ack-frequency section 3; None: ACK_FREQUENCY means nothing to us
    is_early_data_taken: bool = False  # the server's: what rode in the client's first flight need not be said again

    def encode(self) -> bytes:
        # Rounded up: a short idle timeout must not become none, nor our ACKs be later than we promised.
        parameters = [
            (0x01, -(-self.max_idle_timeout // MILLISECOND)),
            (0x03, self.max_datagram_size),
            (0x04, self.initial_max_data),
            (0x05, self.initial_max_stream_data),
            (0x08, self.initial_max_streams),
            (0x0B, -(-self.max_ack_delay // MICROSECOND)),
        ]
        if self.is_early_data_taken:
            parameters.append((0x5201, 1))  # an ID of ours: in QUIC it is TLS that says so (RFC 9001 s4.6.2)
        if self.min_ack_delay is not None:
            parameters.append((_MIN_ACK_DELAY, self.min_ack_delay // MICROSECOND))
        pieces = []
        for parameter, value in parameters:
            octets = encode_varint(value)
            pieces += [encode_varint(parameter), encode_varint(len(octets)), octets]
        triples = b"".join(pieces)
        return encode_varint(HELLO) + encode_varint(len(triples)) + triples

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["HelloFrame", int]:
        triples, end = decode_octets(data, offset + 1)
        hello = HelloFrame()
        seen: set[int] = set()
        at = 0
        while at < len(triples):
            parameter, at = decode_varint(triples, at)
            octets, at = decode_octets(triples, at)
            if parameter in seen:
                raise _bad_parameter(parameter, "given twice")
            seen.add(parameter)
            if len(seen) > MAX_PARAMETERS:
                raise _bad_parameter(parameter, f"more than {MAX_PARAMETERS} parameters")
            hello._set(parameter, octets)
        if hello.min_ack_delay is not None and hello.min_ack_delay > hello.max_ack_delay:
            raise _bad_parameter(_MIN_ACK_DELAY, "above max_ack_delay")
        return hello, end

    def _set(self, parameter: int, octets: bytes) -> None:
        match parameter:
            case 0x01:
                self.max_idle_timeout = _parameter_value(parameter, octets, 0, VARINT_MAX) * MILLISECOND
            case 0x03:
                self.max_datagram_size = _parameter_value(parameter, octets, MIN_DATAGRAM_SIZE, VARINT_MAX)
            case 0x04:
                self.initial_max_data = _parameter_value(parameter, octets, 0, VARINT_MAX)
            case 0x05:
                self.initial_max_stream_data = _parameter_value(parameter, octets, 0, VARINT_MAX)
            case 0x08:
                self.initial_max_streams = _parameter_value(parameter, octets, 0, MAX_STREAM_COUNT)
            case 0x0B:  # s18.2: 2**14 ms or more is invalid
                self.max_ack_delay = _parameter_value(parameter, octets, 0, (1 << 14) * 1000 - 1) * MICROSECOND
            case 0xFF04_DE1B:
                self.min_ack_delay = _parameter_value(parameter, octets, 0, (1 << 24) - 1) * MICROSECOND
            case 0x5201:
                self.is_early_data_taken = _parameter_value(parameter, octets, 1, 1) == 1
            case _:
                pass


def _parameter_value(parameter: int, octets: bytes, minimum: int, maximum: int) -> int:
    value, end = decode_varint(octets, 0)
    if end != len(octets):
        raise _bad_parameter(parameter, "longer than its value")
    if not minimum <= value <= maximum:
        raise _bad_parameter(parameter, f"{value} is outside {minimum} to {maximum}")
    return value


def _bad_parameter(parameter: int, problem: str) -> PacketDecodeError:
    return refusal(f"transport parameter {parameter:#x}: {problem}", ErrorCode.TRANSPORT_PARAMETER_ERROR)
