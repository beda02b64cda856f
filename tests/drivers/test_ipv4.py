"""What is changed in a packet on its way leaves its checksums right: a mark, and the ports that a NAT gives."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.drivers.ipv4 import ICMP, TCP, UDP, checksum, updated, with_ce
from rudp_smtp.drivers.nat import FLOWS_MAX, PORTS, Nat

CLIENT, SERVER = socket.inet_aton("10.77.0.1"), socket.inet_aton("10.77.0.2")


def total(header: bytes) -> int:
    """The ones' complement sum, word by word, as RFC 791 has it."""
    value = sum(int.from_bytes(header[place : place + 2], "big") for place in range(0, 20, 2))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return value


@pytest.mark.parametrize("tos", [0x01, 0x02, 0xB9])
@pytest.mark.parametrize("identification", [0, 1, 0xFFFF, 0x1234])
def test_a_mark_keeps_the_header_checksum_right(tos: int, identification: int) -> None:
    """RFC 791 section 3.1: the ones' complement sum over the header, its checksum included, is all ones."""
    header = bytearray(b"\x45\x00\x00\x54\x00\x00\x40\x00\x40\x06\x00\x00\x0a\x4d\x00\x01\x0a\x4d\x00\x02")
    header[1] = tos
    header[4:6] = identification.to_bytes(2, "big")
    header[10:12] = (~total(bytes(header)) & 0xFFFF).to_bytes(2, "big")
    marked = with_ce(bytes(header) + b"payload")
    assert marked[1] == tos | 3
    assert total(marked[:20]) == 0xFFFF
    assert marked[20:] == b"payload"


@given(st.binary(min_size=4, max_size=40).map(lambda data: data + bytes(len(data) % 2)), st.integers(0, 0xFFFF))
def test_a_checksum_that_is_updated_is_the_one_of_the_changed_octets(data: bytes, word: int) -> None:
    changed = data[:2] + word.to_bytes(2, "big") + data[4:]
    after = updated(checksum(data), int.from_bytes(data[2:4], "big"), word)
    assert after % 0xFFFF == checksum(changed) % 0xFFFF  # 0 and 0xffff are both zero in ones' complement


def ip(protocol: int, payload: bytes, *, is_inward: bool = False, fragment: int = 0) -> bytes:
    source, target = (SERVER, CLIENT) if is_inward else (CLIENT, SERVER)
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, fragment, 64, protocol, 0, source, target)
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + payload


def udp(source: int, target: int, data: bytes = b"text", *, is_inward: bool = False, is_checked: bool = True) -> bytes:
    segment = struct.pack(">HHHH", source, target, 8 + len(data), 0) + data
    if is_checked:
        segment = segment[:6] + checksum(pseudo(UDP, segment) + segment).to_bytes(2, "big") + segment[8:]
    return ip(UDP, segment, is_inward=is_inward)


def tcp(source: int, target: int, *, is_inward: bool = False) -> bytes:
    segment = struct.pack(">HHIIHHHH", source, target, 1, 2, 0x5010, 100, 0, 0)
    segment = segment[:16] + checksum(pseudo(TCP, segment) + segment).to_bytes(2, "big") + segment[18:]
    return ip(TCP, segment, is_inward=is_inward)


def pseudo(protocol: int, segment: bytes) -> bytes:
    return CLIENT + SERVER + bytes([0, protocol]) + len(segment).to_bytes(2, "big")


def ports(packet: bytes) -> tuple[int, int]:
    source, target = struct.unpack(">HH", packet[20:24])
    return source, target


def is_right(packet: bytes) -> bool:
    segment = packet[20:]
    covered = segment if packet[9] == ICMP else pseudo(packet[9], segment) + segment
    return checksum(covered) == 0 and checksum(packet[:20]) == 0


def rebound() -> Nat:
    nat = Nat()
    nat.rebind()
    return nat


@pytest.mark.parametrize("packet", [udp(40000, 53), tcp(40000, 25)])
def test_a_flow_gets_a_port_and_its_answers_come_back_by_it(packet: bytes) -> None:
    nat = rebound()
    out = nat.outward(packet)
    outer, target = ports(out)
    assert outer in PORTS
    assert is_right(out)
    assert nat.outward(packet) == out
    answer = udp(target, outer, is_inward=True) if packet[9] == UDP else tcp(target, outer, is_inward=True)
    back = nat.inward(answer)
    assert back is not None
    assert ports(back) == (target, 40000)
    assert is_right(back)


def test_after_a_rebinding_the_port_is_another_and_answers_to_the_old_one_arrive_nowhere() -> None:
    nat = rebound()
    first, _ = ports(nat.outward(udp(40000, 53)))
    nat.rebind()
    assert nat.inward(udp(53, first, is_inward=True)) is None
    second, _ = ports(nat.outward(udp(40000, 53)))
    assert second != first
    assert nat.inward(udp(53, first, is_inward=True)) is None


def test_a_datagram_without_a_checksum_stays_without() -> None:
    assert rebound().outward(udp(40000, 53, is_checked=False))[26:28] == b"\0\0"


def test_an_error_about_a_flow_is_told_in_ports_that_its_reader_knows() -> None:
    nat = rebound()
    seen_outside = nat.outward(udp(40000, 53))
    body = b"\x03\x03\0\0\0\0\0\0" + seen_outside[:28]
    refusal = ip(ICMP, body[:2] + checksum(body).to_bytes(2, "big") + body[4:], is_inward=True)
    told = nat.inward(refusal)
    assert told is not None
    assert struct.unpack(">HH", told[48:52]) == (40000, 53)
    assert is_right(told)
    nat.rebind()
    assert nat.inward(refusal) is None


def test_pings_and_later_fragments_pass_as_they_are() -> None:
    nat = rebound()
    for packet in (ip(ICMP, b"\x08\0\xf7\xff\0\0\0\0"), ip(UDP, bytes(40), fragment=185)):
        assert nat.outward(packet) == packet
        assert nat.inward(packet) == packet


def test_the_oldest_flow_makes_room() -> None:
    nat = rebound()
    outer = [ports(nat.outward(udp(source, 53)))[0] for source in range(20000, 20001 + FLOWS_MAX)]
    assert nat.inward(udp(53, outer[0], is_inward=True)) is None
    assert nat.inward(udp(53, outer[1], is_inward=True)) is not None


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda data: b"E" + data)))
def test_octets_that_are_no_packet_do_no_harm(data: bytes) -> None:
    nat = rebound()
    assert len(nat.outward(data)) == len(data)
    assert len(nat.inward(data) or data) == len(data)
