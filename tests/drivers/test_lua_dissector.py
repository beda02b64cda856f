"""Wireshark's reading of a capture, by our Lua script, is wire's."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import rudp_smtp.drivers
from rudp_smtp.drivers.capture import OUTBOUND, Capture
from rudp_smtp.wire.frames import (
    AckFrame,
    AckFrequencyFrame,
    ConnectionCloseFrame,
    Frame,
    HelloFrame,
    ImmediateAckFrame,
    MaxStreamDataFrame,
    PaddingFrame,
    PathChallengeFrame,
    PingFrame,
    ResetStreamFrame,
    StreamFrame,
    TokenFrame,
)
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, Packet, encode_packet
from tests.drivers.nodes import Recorder

SCRIPT = Path(rudp_smtp.drivers.__file__).with_name("rudp.lua")
FRAMES: list[Frame] = [
    HelloFrame(initial_max_data=1 << 40),
    TokenFrame(b"token"),
    AckFrame([(1 << 61, (1 << 61) + 5), (70_000, 90_000), (3, 4)], 25_000_000, (1, 2, 3)),
    AckFrame([(0, 1)], 0),
    StreamFrame(4, 1 << 33, b"MAIL", False),
    PingFrame(),
    ResetStreamFrame(1, 2, 300),
    MaxStreamDataFrame(1, 1 << 20),
    PathChallengeFrame(7),
    AckFrequencyFrame(1, 2, 3000, 4),
    ImmediateAckFrame(),
    ConnectionCloseFrame(5, "why", False),
    PaddingFrame(9),
    StreamFrame(8, 5, b"rest", True),
]


def tshark(path: Path, datagrams: Sequence[bytes], *fields: str) -> list[list[str]]:
    if shutil.which("tshark") is None:
        pytest.skip("TSHARK IS NOT INSTALLED: the Lua dissector is not tested")
    capture = Capture()
    for host in ("client", "server"):
        capture.watch(host, Recorder())
    for number, data in enumerate(datagrams):
        capture.note(data, ("client", "server"), number, 0, OUTBOUND)
    path.write_bytes(capture.octets())
    wanted = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-X", f"lua_script:{SCRIPT}", "-r", str(path), "-T", "fields", *wanted]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Lua: Error" not in run.stderr
    return [line.split("\t") for line in run.stdout.splitlines()]


def test_packets_ack_ranges_and_stream_ranges_are_wires(tmp_path: Path) -> None:
    data = [encode_packet(Packet(kind, 1, (1 << 62) - 1, FRAMES, 2)) for kind in (INITIAL, ONE_RTT)]
    names = ("packet_number", "frame", "ack.first", "ack.last", "ack.ecn", "stream.id", "stream.offset", "stream.data")
    for row in tshark(tmp_path / "a.pcapng", data, *(f"rudp_smtp.{name}" for name in names)):
        number, codes, first, last, ecn, streams, offsets, octets = row
        assert int(number) == (1 << 62) - 1
        expected = [6, 7, 3, 2, 14, 1, 4, 0x11, 0x1A, 0x2F, 0x1F, 0x1C, 0, 9]
        assert [int(code, 16) for code in codes.split(",")] == expected
        ranges = [pair for frame in FRAMES if isinstance(frame, AckFrame) for pair in frame.ranges]
        starts, ends = ([int(text) for text in column.split(",")] for column in (first, last))
        assert [(start, end + 1) for start, end in zip(starts, ends, strict=True)] == ranges
        assert (ecn, streams, offsets) == ("1,2,3", "4,8", f"{1 << 33},5")
        assert octets == f"{b'MAIL'.hex()},{b'rest'.hex()}"


def test_what_is_cut_or_unknown_is_marked(tmp_path: Path) -> None:
    whole = encode_packet(Packet(INITIAL, 1, 2, FRAMES, 2))
    cut = [whole[:size] for size in range(34, len(whole) - 16, 7)]
    rows = tshark(
        tmp_path / "b.pcapng", [*cut, b"", b"\x51", b"garbage" * 9], "rudp_smtp.packet_number", "rudp_smtp.malformed"
    )
    assert [row[0] for row in rows] == ["2"] * len(cut) + ["", "", ""]
    assert any(row[1] for row in rows)
