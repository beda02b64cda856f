# scapy.contrib.description = Reliable UDP of rudp_smtp
# scapy.contrib.status = loads

"""RUDP as scapy packets: for crafting, for rules that look inside, for reading captures.

Written from the figures in `wire.packet` and not with its code, as scapy.contrib's modules are: each checks the other.
Nothing here refuses a packet: what cannot be read is Raw, from there to the end of the frames. Import it where a
packet is looked into and not before; scapy takes a second to load.
"""

from typing import Any
from zlib import crc32

from scapy.config import conf
from scapy.fields import (
    ByteEnumField,
    ByteField,
    ConditionalField,
    Field,
    FieldListField,
    IntField,
    LongField,
    PacketListField,
    ShortField,
    StrField,
    StrFixedLenField,
    StrLenField,
    XByteField,
    XIntField,
    XLongField,
)
from scapy.layers.inet import UDP
from scapy.packet import Packet, Raw, bind_layers

from rudp_smtp.datagram import DEFAULT_PORT

INITIAL, ONE_RTT, VERSION_NEGOTIATION, RETRY = 0x50, 0x51, 0x52, 0x53
VERSION = 0x5255_4401
TYPES = {INITIAL: "INITIAL", ONE_RTT: "ONE_RTT", VERSION_NEGOTIATION: "VERSION_NEGOTIATION", RETRY: "RETRY"}

_CRC_SIZE = 4
_TAG_SIZE = 16
_SMALLEST = {INITIAL: 33, ONE_RTT: 21, VERSION_NEGOTIATION: 25, RETRY: 33}  # header, tag and check sum
_FIN, _LEN, _OFF64 = 1, 2, 4


class VarIntField(Field[int, int]):
    """RFC 9000 section 16."""

    def addfield(self, pkt: Any, s: Any, val: int | None) -> Any:
        number = self.i2m(pkt, val)
        for power, limit in enumerate((1 << 6, 1 << 14, 1 << 30, 1 << 62)):
            if number < limit:
                size = 1 << power
                return s + (number | power << (8 * size - 2)).to_bytes(size, "big")
        raise ValueError(f"{self.name}: {number} is beyond 2**62 - 1")

    def getfield(self, pkt: Any, s: Any) -> tuple[Any, int]:
        size = 1 << (s[0] >> 6)
        if size > len(s):
            raise ValueError(f"{self.name} runs past the end")
        return s[size:], int.from_bytes(s[:size], "big") & ((1 << (8 * size - 2)) - 1)

    def i2m(self, pkt: Any, x: int | None) -> int:
        return x or 0


class VarIntSizeField(VarIntField):
    """Octets, or items, of another field; None is worked out when the packet is built."""

    __slots__ = ("_is_count", "_of")

    def __init__(self, name: str, of: str, *, is_count: bool = False) -> None:
        super().__init__(name, None)
        self._of = of
        self._is_count = is_count

    def i2m(self, pkt: Any, x: int | None) -> int:
        if x is not None:
            return x
        field, value = pkt.getfield_and_val(self._of)
        size: int = field.i2count(pkt, value) if self._is_count else field.i2len(pkt, value)
        return size


class ZerosField(Field[int, int]):
    """A run of zero octets, as its length: all of a PADDING frame, its type octet too."""

    def addfield(self, pkt: Any, s: Any, val: int | None) -> Any:
        return s + bytes(val or 0)

    def getfield(self, pkt: Any, s: Any) -> tuple[Any, int]:
        rest = s.lstrip(b"\0")
        return rest, len(s) - len(rest)


class CountedField(StrLenField):
    """Octets whose number precedes them; fewer of them is an error, not a shorter value."""

    def getfield(self, pkt: Any, s: Any) -> tuple[Any, Any]:
        assert self.length_from is not None
        if self.length_from(pkt) > len(s):
            raise ValueError(f"{self.name} runs past the end")
        return super().getfield(pkt, s)


class StreamDataField(StrField):
    """To the end of the packet, or as many octets as LEN's field says."""

    def getfield(self, pkt: Any, s: Any) -> tuple[Any, Any]:
        size = pkt.length if pkt.type & _LEN else len(s)
        if size > len(s):
            raise ValueError("STREAM data runs past the end")
        return s[size:], s[:size]


class _Part(Packet):
    """What follows it is its neighbour, not its payload."""

    def extract_padding(self, s: Any) -> tuple[Any, Any]:
        return b"", s


class RUDPFrame(_Part):
    """Every frame is one, so that `RUDPFrame in packet` can be asked."""


class RUDPPadding(RUDPFrame):
    name = "PADDING"
    fields_desc = [ZerosField("length", 1)]


class RUDPPing(RUDPFrame):
    name = "PING"
    fields_desc = [XByteField("type", 0x01)]


class RUDPAckRange(_Part):
    name = "ACK range"
    fields_desc = [VarIntField("gap", 0), VarIntField("length", 0)]


class RUDPAck(RUDPFrame):
    name = "ACK"
    fields_desc = [
        XByteField("type", 0x02),
        VarIntField("largest", 0),
        VarIntField("delay", 0),
        VarIntSizeField("count", "further", is_count=True),
        VarIntField("first", 0),
        PacketListField("further", [], RUDPAckRange, count_from=lambda pkt: pkt.count),
        ConditionalField(VarIntField("ect0", 0), lambda pkt: pkt.type == 0x03),
        ConditionalField(VarIntField("ect1", 0), lambda pkt: pkt.type == 0x03),
        ConditionalField(VarIntField("ce", 0), lambda pkt: pkt.type == 0x03),
    ]

    def ranges(self) -> list[tuple[int, int]]:
        """Half-open, highest first, as far as they can be read."""
        found = [(self.largest - self.first, self.largest + 1)]
        for item in self.further:
            if not isinstance(item, RUDPAckRange):
                break
            stop = found[-1][0] - item.gap - 1
            found.append((stop - 1 - item.length, stop))
        return found


class RUDPResetStream(RUDPFrame):
    name = "RESET_STREAM"
    fields_desc = [
        XByteField("type", 0x04),
        VarIntField("stream_id", 0),
        VarIntField("error_code", 0),
        VarIntField("final_size", 0),
    ]


class RUDPStopSending(RUDPFrame):
    name = "STOP_SENDING"
    fields_desc = [XByteField("type", 0x05), VarIntField("stream_id", 0), VarIntField("error_code", 0)]


class RUDPParameter(_Part):
    name = "transport parameter"
    fields_desc = [
        VarIntField("id", 0),
        VarIntSizeField("length", "value"),
        CountedField("value", b"", length_from=lambda pkt: pkt.length),
    ]


class RUDPHello(RUDPFrame):
    name = "HELLO"
    fields_desc = [
        XByteField("type", 0x06),
        VarIntSizeField("length", "parameters"),
        PacketListField("parameters", [], RUDPParameter, length_from=lambda pkt: pkt.length),
    ]


class RUDPToken(RUDPFrame):
    name = "TOKEN"
    fields_desc = [
        XByteField("type", 0x07),
        VarIntSizeField("length", "token"),
        CountedField("token", b"", length_from=lambda pkt: pkt.length),
    ]


class RUDPStream(RUDPFrame):
    """The type's flags decide which fields there are: FIN 1, LEN 2, OFF64 4."""

    name = "STREAM"
    fields_desc = [
        XByteField("type", 0x08),
        IntField("stream_id", 0),
        ConditionalField(IntField("offset", 0), lambda pkt: not pkt.type & _OFF64),
        ConditionalField(LongField("offset64", 0), lambda pkt: pkt.type & _OFF64),
        ConditionalField(ShortField("length", None), lambda pkt: pkt.type & _LEN),
        StreamDataField("data", b""),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        if self.type & _LEN and self.length is None:
            at = 13 if self.type & _OFF64 else 9
            pkt = pkt[:at] + len(self.data).to_bytes(2, "big") + pkt[at + 2 :]
        return pkt + pay

    @property
    def start(self) -> int:
        """The offset, however wide it is written."""
        value: int = self.offset64 if self.type & _OFF64 else self.offset
        return value

    @property
    def is_fin(self) -> bool:
        return bool(self.type & _FIN)


class RUDPMaxData(RUDPFrame):
    name = "MAX_DATA"
    fields_desc = [XByteField("type", 0x10), VarIntField("maximum", 0)]


class RUDPMaxStreamData(RUDPFrame):
    name = "MAX_STREAM_DATA"
    fields_desc = [XByteField("type", 0x11), VarIntField("stream_id", 0), VarIntField("maximum", 0)]


class RUDPMaxStreams(RUDPFrame):
    name = "MAX_STREAMS"
    fields_desc = [XByteField("type", 0x12), VarIntField("maximum", 0)]


class RUDPDataBlocked(RUDPFrame):
    name = "DATA_BLOCKED"
    fields_desc = [XByteField("type", 0x14), VarIntField("limit", 0)]


class RUDPStreamDataBlocked(RUDPFrame):
    name = "STREAM_DATA_BLOCKED"
    fields_desc = [XByteField("type", 0x15), VarIntField("stream_id", 0), VarIntField("limit", 0)]


class RUDPStreamsBlocked(RUDPFrame):
    name = "STREAMS_BLOCKED"
    fields_desc = [XByteField("type", 0x16), VarIntField("limit", 0)]


class RUDPPathChallenge(RUDPFrame):
    name = "PATH_CHALLENGE"
    fields_desc = [XByteField("type", 0x1A), XLongField("token", 0)]


class RUDPPathResponse(RUDPFrame):
    name = "PATH_RESPONSE"
    fields_desc = [XByteField("type", 0x1B), XLongField("token", 0)]


class RUDPConnectionClose(RUDPFrame):
    name = "CONNECTION_CLOSE"
    fields_desc = [
        XByteField("type", 0x1C),
        VarIntField("error_code", 0),
        VarIntSizeField("length", "reason"),
        CountedField("reason", b"", length_from=lambda pkt: pkt.length),
    ]


class RUDPImmediateAck(RUDPFrame):
    name = "IMMEDIATE_ACK"
    fields_desc = [XByteField("type", 0x1F)]


class RUDPAckFrequency(RUDPFrame):
    name = "ACK_FREQUENCY"
    fields_desc = [
        ByteField("type", 0x2F),
        VarIntField("sequence_number", 0),
        VarIntField("ack_eliciting_threshold", 0),
        VarIntField("max_ack_delay", 0),
        VarIntField("reordering_threshold", 0),
    ]


FRAMES: dict[int, type[RUDPFrame]] = {
    0x00: RUDPPadding,
    0x01: RUDPPing,
    0x02: RUDPAck,
    0x03: RUDPAck,
    0x04: RUDPResetStream,
    0x05: RUDPStopSending,
    0x06: RUDPHello,
    0x07: RUDPToken,
    **dict.fromkeys(range(0x08, 0x10), RUDPStream),
    0x10: RUDPMaxData,
    0x11: RUDPMaxStreamData,
    0x12: RUDPMaxStreams,
    0x14: RUDPDataBlocked,
    0x15: RUDPStreamDataBlocked,
    0x16: RUDPStreamsBlocked,
    0x1A: RUDPPathChallenge,
    0x1B: RUDPPathResponse,
    0x1C: RUDPConnectionClose,
    0x1D: RUDPConnectionClose,
    0x1F: RUDPImmediateAck,
    0x2F: RUDPAckFrequency,
}


def _frame_class(_packet: Any, _before: Any, _last: Any, rest: Any) -> type[Packet]:
    return FRAMES.get(rest[0], Raw)


def _body_size(packet: Any) -> int:
    """Octets between the header and what ends the packet."""
    return len(packet.original) - _SMALLEST[packet.type]


def _has_frames(packet: Any) -> bool:
    return packet.type in (INITIAL, ONE_RTT)


class RUDP(_Part):
    """One datagram. `crc` None is worked out when it is built."""

    name = "RUDP"
    fields_desc = [
        ByteEnumField("type", ONE_RTT, TYPES),
        ConditionalField(XIntField("version", VERSION), lambda pkt: pkt.type != ONE_RTT),
        XLongField("destination_id", 0),
        ConditionalField(XLongField("source_id", 0), lambda pkt: pkt.type in (INITIAL, VERSION_NEGOTIATION)),
        ConditionalField(LongField("packet_number", 0), _has_frames),
        ConditionalField(PacketListField("frames", [], next_cls_cb=_frame_class, length_from=_body_size), _has_frames),
        ConditionalField(
            FieldListField("versions", [], XIntField("", 0), length_from=_body_size),
            lambda pkt: pkt.type == VERSION_NEGOTIATION,
        ),
        ConditionalField(StrLenField("token", b"", length_from=_body_size), lambda pkt: pkt.type == RETRY),
        ConditionalField(StrFixedLenField("tag", b"", length=_TAG_SIZE), lambda pkt: pkt.type == RETRY),
        XIntField("crc", None),
    ]

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *_args: Any, **_fields: Any) -> type[Packet]:
        """What is too short for its header, or of no type of ours, is Raw."""
        if _pkt is not None and (not _pkt or len(_pkt) < _SMALLEST.get(_pkt[0], len(_pkt) + 1)):
            return conf.raw_layer
        if _pkt is not None and _pkt[0] == VERSION_NEGOTIATION and (len(_pkt) - _SMALLEST[_pkt[0]]) % 4:
            return conf.raw_layer
        return cls

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        if self.crc is None:
            pkt = pkt[:-_CRC_SIZE] + crc32(pkt[:-_CRC_SIZE]).to_bytes(_CRC_SIZE, "big")
        return pkt + pay

    def is_intact(self) -> bool:
        """Whether the check sum of a packet that was read is right."""
        return bool(crc32(self.original[:-_CRC_SIZE]) == self.crc)


bind_layers(UDP, RUDP, sport=DEFAULT_PORT)
bind_layers(UDP, RUDP, dport=DEFAULT_PORT)
bind_layers(UDP, RUDP, sport=DEFAULT_PORT, dport=DEFAULT_PORT)
