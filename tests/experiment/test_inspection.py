"""What readers see of packets: connections under all their names, TCP's numbers as offsets, headers of either kind."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.datagram import Label
from rudp_smtp.drivers.headers import SimulatedHosts, ip_packet
from rudp_smtp.experiment.inspection import Flows, read_datagrams, read_packets, readers_before, readers_between
from rudp_smtp.link.config import FieldTest
from rudp_smtp.link.match import Headers, Reader
from rudp_smtp.transport.arq.frame import ACK, DATA, SYN, encode_frame
from rudp_smtp.transport.arq.segments import FIN
from rudp_smtp.wire.frames import Frame, PingFrame, StreamFrame
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, Packet, encode_packet

HOSTS = SimulatedHosts(["client", "server", "rival-client", "rival-server"])
TO_SERVER = Label("client", "server")
ENDS = HOSTS(TO_SERVER)


def simulated() -> Reader:
    return read_datagrams(HOSTS, Flows())


def datagram(kind: int, target: int, source: int = 0, frame: Frame | None = None) -> bytes:
    return encode_packet(Packet(kind, target, 1, [frame or StreamFrame(0, 10, b"mail", False)], source))


def streams(reader: Reader, *packets: bytes) -> list[object]:
    """Which streams their pieces are of."""
    found = []
    for packet in packets:
        contents = reader(packet, TO_SERVER).contents()
        assert contents is not None
        found += [piece.stream for piece in contents.pieces]
    return found


def test_simulated_hosts_have_the_addresses_of_a_capture_also_after_a_change() -> None:
    assert HOSTS(Label("client", "server")) == (("10.0.0.1", 2525), ("10.0.0.2", 2525))
    assert HOSTS(Label("rival-server", "client~1")) == (("10.0.0.4", 2525), ("10.0.0.1", 2526))
    assert HOSTS(Label("client+2", "client+2~3")) == (("10.0.0.5", 2525), ("10.0.0.5", 2528))


def test_frames_and_pieces_are_named() -> None:
    contents = simulated()(datagram(ONE_RTT, 7), TO_SERVER).contents()
    assert contents is not None
    assert contents.frames == {"stream"}
    assert [(piece.offset, piece.data) for piece in contents.pieces] == [(10, b"mail")]


def test_a_connection_is_one_under_the_ids_of_either_side() -> None:
    """The client calls the server by an ID it made up (1), and by the server's own (3) once it knows that."""
    client, server = 2, 3
    reader = simulated()
    early, answer = datagram(INITIAL, 1, client), datagram(INITIAL, client, server, PingFrame())
    later, last = datagram(INITIAL, server, client), datagram(ONE_RTT, server)
    assert len(set(streams(reader, early, answer, later, last))) == 1
    other = datagram(INITIAL, 8, 9), datagram(ONE_RTT, 10)
    assert len(set(streams(reader, early, *other))) == 3


def test_frames_of_arq_are_named_and_their_octets_are_where_they_were_when_they_come_again() -> None:
    """Two bits of number: of 0 to 3 only what comes next is new. Segments: kind, stream, octets (transport.arq)."""
    reader = simulated()
    sent = (0, 1, 2, 1, 2, 3, 4, 5, 3)
    arq = [
        encode_frame(SYN, 9, 2, 3, b"go_back_n"),
        *(encode_frame(DATA, 9, n % 4, 3, bytes(4 + 1) + b"%02d" % n) for n in sent),
        encode_frame(DATA, 9, 2, 3, bytes([FIN, 0, 0, 0, 0])),
        encode_frame(ACK, 9, 0, 3),
    ]
    found = [reader(packet, TO_SERVER).contents() for packet in arq]
    assert [sorted(contents.frames) for contents in found if contents] == [
        ["syn"],
        *[["data"]] * 9,
        ["data", "fin"],
        ["ack"],
    ]
    pieces = [piece for contents in found if contents for piece in contents.pieces]
    assert [(piece.offset, piece.data) for piece in pieces] == [
        (2 * n, b"%02d" % n) for n in (0, 1, 2, 1, 2, 3, 4, 5, 3)
    ]
    assert not reader(arq[1], TO_SERVER).passes((FieldTest("RUDP.packet_number", at_least=0),))


def test_what_is_damaged_or_of_others_has_no_contents() -> None:
    assert simulated()(datagram(ONE_RTT, 7)[:-1] + b"\0", TO_SERVER).contents() is None
    assert simulated()(b"\x80 QUIC", TO_SERVER).contents() is None


def segment(sequence: int, data: bytes, *, syn: bool = False, ports: bytes = b"\x1b\x58\x00\x19") -> bytes:
    tcp = ports + (sequence % (1 << 32)).to_bytes(4, "big") + bytes(4) + bytes([0x50, 0x02 if syn else 0x10]) + bytes(6)
    whole = 20 + len(tcp) + len(data)
    return b"\x45\0" + whole.to_bytes(2, "big") + bytes(5) + b"\x06\0\0" + b"\x0a\x4d\0\1\x0a\x4d\0\2" + tcp + data


def test_tcps_octets_have_offsets_across_the_end_of_its_numbers() -> None:
    reader = read_packets(Flows())
    sent = [segment(2**32 - 4, b"", syn=True), segment(2**32 - 3, b"abcde"), segment(2, b"fgh"), segment(-1, b"cde")]
    contents = [reader(packet, TO_SERVER).contents() for packet in sent]
    pieces = [piece for found in contents if found is not None for piece in found.pieces]
    base = pieces[0].offset
    assert [(piece.offset - base, piece.data) for piece in pieces] == [
        (0, b""),
        (0, b"abcde"),
        (5, b"fgh"),
        (2, b"cde"),
    ]
    assert len({piece.stream for piece in pieces}) == 1


def test_a_tcp_connection_between_the_same_ports_is_another() -> None:
    reader = read_packets(Flows())
    syn = segment(100, b"", syn=True)
    one, again, other = streams(reader, syn, syn, segment(9000, b"", syn=True))
    assert one == again != other
    assert streams(reader, segment(101, b"x", ports=b"\0\1\0\2")) != [other]


def test_whole_packets_tell_their_ports_and_carry_our_frames() -> None:
    reader = read_packets(Flows())
    ours = ip_packet(datagram(ONE_RTT, 7), (("10.77.0.1", 4000), ("10.77.0.2", 25)), 0)
    assert reader(ours, TO_SERVER).headers() == Headers("udp", 4000, 25)
    contents = reader(ours, TO_SERVER).contents()
    assert contents is not None
    assert contents.frames == {"stream"}
    assert reader(segment(5, b"x"), TO_SERVER).headers() == Headers("tcp", 7000, 25)
    later_fragment = ours[:6] + b"\0\x10" + ours[8:]
    assert reader(later_fragment, TO_SERVER).headers() == Headers("udp", None, None)
    assert reader(later_fragment, TO_SERVER).contents() is None


def test_a_relay_sees_the_ports_at_both_ends_of_the_path() -> None:
    there, back = readers_before(("127.0.0.1", 25))
    label = Label(("127.0.0.1", 4000), "whoever sends it on")
    assert there(b"", label).headers() == Headers("udp", 4000, 25)
    assert back(b"", label).headers() == Headers("udp", 25, 4000)
    there, back = readers_between(*ENDS)
    assert back(datagram(ONE_RTT, 7), label).passes((FieldTest("IP.src", equals="10.0.0.2"),))


@given(st.binary(max_size=100), st.integers(0, 60))
def test_octets_of_any_kind_are_read_and_raise_nothing(octets: bytes, place: int) -> None:
    for packet in (
        octets,
        segment(7, b"data")[:place] + octets,
        ip_packet(datagram(ONE_RTT, 7), ENDS, 0)[:place] + octets,
    ):
        for reader in (simulated(), read_packets(Flows())):
            reading = reader(packet, TO_SERVER)
            reading.headers()
            reading.contents()
            assert reading.passes((FieldTest("IP.ttl", at_least=0),)) in (True, False)


PROGRAM = """
import sys
from pathlib import Path
from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.scenario import load_scenario
rule = sys.argv[1]
settings = [("replications", "1"), ("workload.messages", "2"), ("network.both.match", f"[{rule}]")]
facts = execute(plan(load_scenario(Path("configs/lossless.yaml"), settings))[0])
print(facts.forward.stats.packets_matched, "scapy" in sys.modules)
"""


@pytest.mark.parametrize(
    ("rule", "output"),
    [
        ("{frame: stream, contains: MAIL, source_port: 2525, nth: 1, action: drop}", "1 False"),
        ("{field: RUDP.packet_number, equals: 5, nth: 1, action: drop}", "1 True"),
    ],
)
def test_scapy_is_loaded_for_a_rule_about_fields_and_for_nothing_else(rule: str, output: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, rule], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == output, done.stderr
