"""ACK_FREQUENCY and IMMEDIATE_ACK: a sender says how often it wants to hear (draft-ietf-quic-ack-frequency).

Departure: the draft's frame type 0xaf takes two octets, and types here are one; ACK_FREQUENCY is 0x2f.
"""

from dataclasses import dataclass
from typing import Final

from rudp_smtp.units import MICROSECOND
from rudp_smtp.wire.fields import encode_integers
from rudp_smtp.wire.varint import decode_varint, encode_varint

IMMEDIATE_ACK: Final = 0x1F
ACK_FREQUENCY: Final = 0x2F


@dataclass(slots=True)
class AckFrequencyFrame:
    """How the peer should acknowledge from now on (section 4). The one with the highest sequence number counts."""

    sequence_number: int
    ack_eliciting_threshold: int  # packets that may arrive without an acknowledgement
    max_ack_delay: int
    reordering_threshold: int  # how far above a missing packet the first immediate acknowledgement is; 0: none is

    def encode(self) -> bytes:
        return encode_integers(
            ACK_FREQUENCY,
            self.sequence_number,
            self.ack_eliciting_threshold,
            self.max_ack_delay // MICROSECOND,
            self.reordering_threshold,
        )

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["AckFrequencyFrame", int]:
        sequence_number, offset = decode_varint(data, offset + 1)
        threshold, offset = decode_varint(data, offset)
        max_ack_delay, offset = decode_varint(data, offset)
        reordering_threshold, offset = decode_varint(data, offset)
        return AckFrequencyFrame(sequence_number, threshold, max_ack_delay * MICROSECOND, reordering_threshold), offset


@dataclass(slots=True)
class ImmediateAckFrame:
    """Asks for an acknowledgement at once (section 5)."""

    def encode(self) -> bytes:
        return encode_varint(IMMEDIATE_ACK)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["ImmediateAckFrame", int]:
        return ImmediateAckFrame(), offset + 1
