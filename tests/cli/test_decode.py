"""`rudp-smtp decode` as a person uses it."""

from pathlib import Path

import pytest

from rudp_smtp.cli.__main__ import main
from rudp_smtp.drivers.capture import INBOUND, OUTBOUND, Capture
from rudp_smtp.wire.frames import AckFrame, Frame, PaddingFrame, StreamFrame
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, Packet, encode_packet
from tests.drivers.nodes import Recorder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    capture = Capture()
    for host in ("client", "server"):
        capture.watch(host, Recorder())
    frames: list[Frame] = [
        AckFrame([(5, 9), (0, 2)], 0),
        StreamFrame(4, 10, b"MAIL FROM:<a@b>\r\n" + b"\x1b" * 40, True),
    ]
    sent = encode_packet(Packet(ONE_RTT, 1, 7, frames))
    capture.note(sent, ("client", "server"), 1_500_000, 0, OUTBOUND)
    capture.note(encode_packet(Packet(INITIAL, 1, 0, [PaddingFrame(9)])), ("client", "server"), 2_000_000, 0, INBOUND)
    capture.note(b"garbage", ("client", "server"), 3_000_000, 0, INBOUND)
    path = tmp_path / "a.pcapng"
    path.write_bytes(capture.octets())
    return path


def test_a_line_for_each_packet(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decode", str(file)]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("      1.500000 ms  client -> 10.0.0.2:2525  ONE_RTT #7  ")
    assert "Ack 5-8 0-1, Stream 4:10-67 fin 'MAIL FROM:<a@b>\\r\\n\\x1b" in first
    assert first.endswith("...")
    assert "server <- 10.0.0.1:2525  INITIAL #0" in second
    assert second.endswith("Padding 9 B")
    assert "7 B  not a packet: " in third


def test_a_file_that_is_cut_foreign_or_absent_is_status_2(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(file.read_bytes()[:-5])
    assert main(["decode", str(file)]) == 2
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert "truncated" in said.err
    file.write_bytes(b"From: me")
    assert main(["decode", str(file)]) == 2
    assert "not a little-endian pcapng file" in capsys.readouterr().err
    assert main(["decode", str(file.with_name("absent"))]) == 2
    assert "No such file" in capsys.readouterr().err


def test_it_is_among_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "decode" in capsys.readouterr().out
