"""Tests of scapy's fields: what passes, what can never pass and is refused, and octets of any kind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP

from rudp_smtp.drivers.headers import ip_packet
from rudp_smtp.drivers.scapy_fields import dissect, passes, prepare
from rudp_smtp.drivers.scapy_layer import RUDP, RUDPAck, RUDPAckRange, RUDPPing, RUDPStream
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import FieldTest

MAIL = RUDP(
    packet_number=5,
    frames=[
        RUDPAck(largest=9, further=[RUDPAckRange(gap=1, length=2)]),
        RUDPStream(type=0x0A, stream_id=4, offset=100, data=b"hello"),
        RUDPStream(type=0x08, stream_id=8, offset=7, data=b"world"),
    ],
)
ENDS = (("10.0.0.1", 2525), ("10.0.0.2", 2525))
DATAGRAM = ip_packet(bytes(MAIL), ENDS, 0)
SYN_ACK = bytes(IP(src="10.77.0.1", dst="10.77.0.2", ttl=63) / TCP(sport=7000, dport=25, flags="SA"))


@pytest.mark.parametrize(
    ("packet", "test", "expected"),
    [
        (DATAGRAM, FieldTest("RUDP.packet_number", equals=5), True),
        (DATAGRAM, FieldTest("RUDP.packet_number", equals=6), False),
        (DATAGRAM, FieldTest("RUDP.packet_number", differs=6), True),
        (DATAGRAM, FieldTest("RUDP.packet_number", differs=5), False),
        (DATAGRAM, FieldTest("RUDP.packet_number", at_least=5, at_most=5), True),
        (DATAGRAM, FieldTest("RUDP.packet_number", at_least=6), False),
        (DATAGRAM, FieldTest("RUDP.packet_number", at_most=4), False),
        (DATAGRAM, FieldTest("RUDP.type", equals="ONE_RTT"), True),
        (DATAGRAM, FieldTest("RUDP.type", equals=0x51), True),
        (DATAGRAM, FieldTest("RUDP.version", differs=0), False),  # not there, in a ONE_RTT packet
        (DATAGRAM, FieldTest("RUDPStream.offset", equals=7), True),
        (DATAGRAM, FieldTest("RUDPStream.offset", equals=8), False),
        (DATAGRAM, FieldTest("RUDPStream.offset", differs=7), False),
        (DATAGRAM, FieldTest("RUDPStream.data", equals="world"), True),
        (DATAGRAM, FieldTest("RUDPAckRange.gap", equals=1), True),
        (DATAGRAM, FieldTest("RUDPPing.type", equals=1), False),
        (DATAGRAM, FieldTest("IP.src", equals="10.0.0.1"), True),
        (DATAGRAM, FieldTest("IP.flags", equals="DF"), True),
        (DATAGRAM, FieldTest("UDP.dport", equals=2525), True),
        (DATAGRAM, FieldTest("TCP.dport", at_least=0), False),
        (SYN_ACK, FieldTest("IP.ttl", at_most=63), True),
        (SYN_ACK, FieldTest("IP.ttl", at_least=64), False),
        (SYN_ACK, FieldTest("TCP.flags", equals="AS"), True),
        (SYN_ACK, FieldTest("TCP.flags", equals="S"), False),
        (bytes(IP() / ICMP(type="echo-request")), FieldTest("ICMP.type", equals="echo-request"), True),
        (
            bytes(IP() / UDP(dport=53) / DNS(qd=DNSQR(qname="mx.example"))),
            FieldTest("DNSQR.qname", equals="mx.example."),
            True,
        ),
        (bytes(IP() / UDP(dport=53) / DNS(qd=DNSQR(qname="mx.example"))), FieldTest("DNS.qr", equals=1), False),
    ],
)
def test_a_packet_passes_by_its_fields(packet: bytes, test: FieldTest, expected: bool) -> None:
    assert passes(dissect(packet, None), (test,)) is expected


def test_what_is_ours_is_dissected_on_any_port() -> None:
    test = FieldTest("RUDP.packet_number", equals=5)
    packet = ip_packet(bytes(MAIL), (("10.0.0.1", 53), ("10.0.0.2", 53)), 0)
    assert not passes(dissect(packet, None), (test,))
    assert passes(dissect(packet, bytes(MAIL)), (test,))


def test_datagrams_between_ipv6_hosts_have_such_headers() -> None:
    packet = dissect(ip_packet(bytes(MAIL), (("fd00::1", 2525), ("fd00::2", 4000)), 2), None)
    assert passes(packet, (FieldTest("IPv6.dst", equals="fd00::2"),))
    assert passes(packet, (FieldTest("IPv6.tc", equals=2),))
    assert passes(packet, (FieldTest("RUDP.packet_number", equals=5),))


def test_several_tests_all_hold_and_those_of_a_layer_hold_of_the_same_one() -> None:
    frames = [RUDPStream(type=0x0A, stream_id=0, offset=10, data=b"x"), RUDPStream(stream_id=4, offset=20)]
    packet = dissect(ip_packet(bytes(RUDP(packet_number=5, frames=frames)), ENDS, 0), None)
    stream, offset = (FieldTest("RUDPStream.stream_id", equals=4), FieldTest("RUDPStream.offset", equals=20))
    assert passes(packet, (stream, offset, FieldTest("RUDP.packet_number", at_most=5)))
    assert not passes(packet, (stream, offset, FieldTest("RUDP.packet_number", at_most=4)))
    assert not passes(packet, (stream, FieldTest("RUDPStream.offset", equals=10)))
    assert passes(packet, (FieldTest("RUDPStream.stream_id", differs=0), offset))
    assert not passes(packet, (FieldTest("RUDPStream.stream_id", differs=0),))


@pytest.mark.parametrize("source", [ENDS, (("fd00::1", 2525), ("fd00::2", 4000))])
def test_the_headers_have_the_checksums_that_scapy_works_out(source: tuple[tuple[str, int], tuple[str, int]]) -> None:
    made = dissect(ip_packet(bytes(MAIL), source, 1), None).payload
    again = made.copy()
    for layer in (again, again[UDP]):
        for name in {"chksum", "len", "plen"} & layer.fields.keys():
            del layer.fields[name]
    assert bytes(again) == bytes(made)


@pytest.mark.parametrize(
    ("test", "key", "words"),
    [
        (FieldTest("RUPD.packet_number", equals=5), "field", "unknown layer 'RUPD'; did you mean 'RUDP'?"),
        (
            FieldTest("RUDP.packet_numbr", equals=5),
            "field",
            "RUDP has no field 'packet_numbr'; did you mean 'packet_number'?",
        ),
        (FieldTest("packet_number", equals=5), "field", "names no layer; expected such as IP.ttl"),
        (FieldTest("RUDP.frames", equals=5), "field", "RUDP.frames holds several values"),
        (FieldTest("TCP.options", equals="x"), "field", "TCP.options holds several values"),
        (FieldTest("IP.ttl", equals="low"), "equals", "expected a whole number, as IP.ttl is, got 'low'"),
        (FieldTest("IP.ttl", differs="low"), "not", "expected a whole number"),
        (FieldTest("IP.src", equals=10), "equals", "expected text"),
        (FieldTest("IP.src", at_least=10), "at_least", "IP.src is no number; expected 'equals' or 'not'"),
        (FieldTest("TCP.flags", equals="SX"), "equals", "'SX' are no flags of TCP.flags; expected some of FSRPAUECN"),
        (FieldTest("IP.flags", equals="FD"), "equals", "expected some of MF+DF+evil"),
        (FieldTest("RUDP.type", equals="INITAL"), "equals", "'INITAL' is no RUDP.type; did you mean 'INITIAL'?"),
    ],
)
def test_what_no_packet_could_pass_is_refused_at_its_key(test: FieldTest, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare(test)
    assert caught.value.key == key
    assert words in caught.value.message


ASKED = [FieldTest(name, at_least=0) for name in ("IP.ttl", "IPv6.hlim", "TCP.seq", "RUDP.crc", "RUDPStream.stream_id")]


@given(st.binary(max_size=120), st.integers(0, 60))
def test_octets_of_any_kind_pass_or_not_and_raise_nothing(octets: bytes, place: int) -> None:
    for packet in (octets, DATAGRAM[:place] + octets, SYN_ACK[:place] + octets):
        for test in ASKED:
            assert passes(dissect(packet, None), (test,)) in (True, False)


def test_a_ping_is_a_frame_like_any_other() -> None:
    packet = ip_packet(bytes(RUDP(packet_number=1, frames=[RUDPPing()])), ENDS, 0)
    assert passes(dissect(packet, None), (FieldTest("RUDPPing.type", equals=1),))
