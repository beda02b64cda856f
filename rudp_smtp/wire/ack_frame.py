"""ACK: the packets received, as ranges of packet numbers (RFC 9000 s19.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rudp_smtp.units import MICROSECOND
from rudp_smtp.wire.fields import refusal
from rudp_smtp.wire.varint import ONE_OCTET, ONE_OCTET_LIMIT, decode_varint, encode_varint

ACK: Final = 0x02
ACK_ECN: Final = 0x03
MAX_ACK_RANGES = 256

_ACK = bytes([ACK])
_ACK_ECN = bytes([ACK_ECN])

EcnCounts = tuple[int, int, int]  # packets received with ECT(0), ECT(1) and CE, since the connection began


@dataclass(slots=True)
class AckFrame:
    """Packets received (s19.3): half-open ranges of packet numbers, highest first, a gap between any two."""

    ranges: list[tuple[int, int]]
    ack_delay: int  # between the arrival of the largest packet and this acknowledgement
    ecn: EcnCounts | None = None  # s19.3.2; None: the frame has no counts, which is its usual type

    def encode(self) -> bytes:
        ranges = self.ranges
        assert 1 <= len(ranges) <= MAX_ACK_RANGES
        start, stop = ranges[0]
        further, length = len(ranges) - 1, stop - 1 - start
        pieces = [
            _ACK if self.ecn is None else _ACK_ECN,
            encode_varint(stop - 1),
            encode_varint(self.ack_delay // MICROSECOND),
            ONE_OCTET[further] if further < ONE_OCTET_LIMIT else encode_varint(further),
            ONE_OCTET[length] if length < ONE_OCTET_LIMIT else encode_varint(length),
        ]
        if further:
            pieces.append(encode_further_ranges(ranges))
        if self.ecn is not None:
            pieces += [encode_varint(count) for count in self.ecn]
        return b"".join(pieces)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["AckFrame", int]:
        has_counts = data[offset] == ACK_ECN
        largest, offset = decode_varint(data, offset + 1)
        ack_delay, offset = decode_varint(data, offset)
        count, offset = decode_varint(data, offset)
        length, offset = decode_varint(data, offset)
        if count >= MAX_ACK_RANGES or 2 * count > len(data) - offset:
            raise refusal(f"{count} further ACK ranges do not fit")
        start = largest - length
        if start < 0:
            raise refusal("ACK range below packet number 0")
        ranges = [(start, largest + 1)]
        if count:
            offset = decode_further_ranges(data, offset, count, ranges)
        if not has_counts:
            return AckFrame(ranges, ack_delay * MICROSECOND), offset
        ect_0, offset = decode_varint(data, offset)
        ect_1, offset = decode_varint(data, offset)
        ce, offset = decode_varint(data, offset)
        return AckFrame(ranges, ack_delay * MICROSECOND, (ect_0, ect_1, ce)), offset


def encode_further_ranges(ranges: list[tuple[int, int]]) -> bytes:
    """A gap and a length for each range but the first. Most fit into an octet each, and are written as one string."""
    values: list[int] = []
    start = ranges[0][0]
    for low, high in ranges[1:]:
        values.append(start - high - 1)
        values.append(high - 1 - low)
        start = low
    assert min(values) >= 0
    if max(values) < ONE_OCTET_LIMIT:
        return bytes(values)
    return b"".join([encode_varint(value) for value in values])


def decode_further_ranges(data: bytes, offset: int, count: int, ranges: list[tuple[int, int]]) -> int:
    """Append `count` ranges below the last; the offset after them."""
    start = ranges[-1][0]
    values: Sequence[int] = data[offset : offset + 2 * count]
    if max(values) < ONE_OCTET_LIMIT:
        offset += 2 * count
    else:
        values = []
        for _ in range(2 * count):
            value, offset = decode_varint(data, offset)
            values.append(value)
    for index in range(0, 2 * count, 2):
        stop = start - values[index] - 1
        start = stop - 1 - values[index + 1]
        if start < 0:
            raise refusal("ACK range below packet number 0")
        ranges.append((start, stop))
    return offset
