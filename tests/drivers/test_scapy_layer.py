"""scapy's reading of a packet and wire's are the same, whatever the packet; and garbage raises nothing."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from rudp_smtp.datagram import DEFAULT_PORT
from rudp_smtp.drivers.scapy_layer import (
    RETRY,
    RUDP,
    VERSION_NEGOTIATION,
    RUDPAck,
    RUDPAckFrequency,
    RUDPAckRange,
    RUDPConnectionClose,
    RUDPHello,
    RUDPPing,
    RUDPStream,
)
from rudp_smtp.units import MICROSECOND, MILLISECOND
from rudp_smtp.wire.frames import (
    AckFrame,
    AckFrequencyFrame,
    Frame,
    HelloFrame,
    StreamFrame,
    TokenFrame,
)
from rudp_smtp.wire.packet import INITIAL, Packet, encode_packet
from rudp_smtp.wire.stateless import VersionNegotiation, encode_retry, encode_version_negotiation
from rudp_smtp.wire.varint import decode_varint
from tests.wire.strategies import packets

PARAMETERS = {
    "max_idle_timeout": (0x01, MILLISECOND),
    "max_datagram_size": (0x03, 1),
    "initial_max_data": (0x04, 1),
    "initial_max_stream_data": (0x05, 1),
    "initial_max_streams": (0x08, 1),
    "max_ack_delay": (0x0B, MICROSECOND),
    "min_ack_delay": (0xFF04_DE1B, MICROSECOND),
    "is_early_data_taken": (0x5201, 1),
}


def read_anew(read: ScapyPacket) -> bytes:
    """Built from the fields, not from the octets that scapy remembers."""
    read.clear_cache()
    return bytes(read)


def as_wire_has_it(frame: Any) -> dict[str, object]:
    """scapy's fields under the names and in the units of wire's dataclass."""
    match frame:
        case RUDPAck():
            ecn = (frame.ect0, frame.ect1, frame.ce) if frame.type == 3 else None
            return {"ranges": frame.ranges(), "ack_delay": frame.delay * MICROSECOND, "ecn": ecn}
        case RUDPStream():
            return {
                "stream_id": frame.stream_id,
                "offset": frame.start,
                "data": bytes(frame.data),
                "is_fin": frame.is_fin,
            }
        case RUDPHello():
            values = {item.id: decode_varint(bytes(item.value), 0)[0] for item in frame.parameters}
            return {name: values[at] * unit for name, (at, unit) in PARAMETERS.items() if at in values}
        case RUDPConnectionClose():
            reason = bytes(frame.reason).decode()
            return {"error_code": frame.error_code, "reason": reason, "is_application": frame.type == 0x1D}
        case RUDPAckFrequency():
            return {**plain(frame), "max_ack_delay": frame.max_ack_delay * MICROSECOND}
        case _:
            return plain(frame)


def plain(frame: Any) -> dict[str, object]:
    return {name: value for name, value in frame.fields.items() if name != "type"}


def as_scapy_says(frame: Frame) -> dict[str, object]:
    values = {field.name: getattr(frame, field.name) for field in fields(frame)}
    if isinstance(frame, HelloFrame):  # what is off is not said
        return {name: value for name, value in values.items() if value is not None and value is not False}
    if isinstance(frame, TokenFrame):
        return {**values, "length": len(frame.token)}
    return values


@given(packets)
def test_scapy_reads_what_wire_writes_and_writes_it_again(packet: Packet) -> None:
    data = encode_packet(packet)
    read = RUDP(data)
    assert isinstance(read, RUDP)
    assert (read.type, read.destination_id, read.packet_number) == (
        packet.kind,
        packet.destination_connection_id,
        packet.packet_number,
    )
    assert packet.kind != INITIAL or read.source_id == packet.source_connection_id
    assert read.is_intact()
    assert [as_wire_has_it(frame) for frame in read.frames] == [as_scapy_says(frame) for frame in packet.frames]
    assert read_anew(read) == data


@given(packets)
def test_what_is_left_open_is_worked_out(packet: Packet) -> None:
    data = encode_packet(packet)
    read = RUDP(data)
    read.crc = None
    for frame in read.frames:
        for name in ("length", "count"):
            if name in frame.fields and frame.name != "PADDING":
                setattr(frame, name, None)
    assert read_anew(read) == data


@given(packets, st.data())
def test_a_damaged_packet_is_read_as_far_as_it_goes(packet: Packet, data: st.DataObject) -> None:
    octets = bytearray(encode_packet(packet))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(octets[: data.draw(st.integers(0, len(octets)))])
    assert bytes(IP(bytes(IP() / UDP(sport=DEFAULT_PORT) / Raw(cut)))[UDP].payload) == cut
    RUDP(cut).show(dump=True)


@given(st.sampled_from([b"", b"\x50", b"\x51", b"\x52", b"\x53"]), st.binary(max_size=200))
def test_garbage_raises_nothing_and_is_kept(first: bytes, rest: bytes) -> None:
    assert bytes(RUDP(first + rest)) == first + rest


def test_a_servers_stateless_answers_are_read() -> None:
    versions = RUDP(encode_version_negotiation(VersionNegotiation(1, 2, (3, 4))))
    assert (versions.type, versions.destination_id, versions.source_id) == (VERSION_NEGOTIATION, 1, 2)
    assert versions.versions == [3, 4]
    data = encode_retry(5, 6, b"token")
    retry = RUDP(data)
    assert (retry.type, retry.destination_id, retry.token, retry.tag) == (RETRY, 5, b"token", data[-20:-4])
    assert read_anew(retry) == data


def test_a_packet_is_found_behind_the_port_and_crafted_in_one_line() -> None:
    crafted = IP() / UDP(sport=1, dport=DEFAULT_PORT) / RUDP(packet_number=7, frames=[RUDPPing()])
    read = IP(bytes(crafted))
    assert read[RUDP].packet_number == 7
    assert read[RUDP].is_intact()
    wire = encode_packet(Packet(0x51, 0, 7, [StreamFrame(1, 2, b"data", False)]))
    assert bytes(RUDP(packet_number=7, frames=[RUDPStream(stream_id=1, offset=2, data=b"data")])) == wire
    assert AckFrame([(3, 5), (0, 1)], 0).encode() == bytes(
        RUDPAck(largest=4, first=1, further=[RUDPAckRange(gap=1, length=0)])
    )
    assert AckFrequencyFrame(1, 2, 0, 3).encode()[0] == RUDPAckFrequency().type


def test_an_experiment_does_not_load_it(tmp_path: Path) -> None:
    scenario = Path(__file__).parent.parent / "golden" / "dialogue.yaml"
    script = f"""
import sys
from rudp_smtp.experiment.__main__ import main
main([{str(scenario)!r}, "--output", {str(tmp_path)!r}, "--replications", "1", "--set", "executor=serial"])
sys.exit(3 if "scapy" in sys.modules else 4)
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 4
